"""NNI's web UI at the address with the token, and without it: a real manager, and a trial that sleeps."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

PARAMETERS = {'mutation_summary': {'stage': 'finalist', 'conv1': 8}}
TRIAL = {'parameter_id': 0, 'parameter_source': 'algorithm', 'parameters': PARAMETERS, 'parameter_index': 0}


@pytest.fixture
def running(tmp_path, monkeypatch, driver):
    """``(manager, pages)``: a manager with a trial that runs."""
    spec = importlib.util.spec_from_file_location(
        'managers', pathlib.Path(__file__).parents[1] / 'nni_compat' / 'patches' / 'conftest.py'
    )
    managers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(managers)
    managers.patch_nni()
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(managers.manager_process, 'NNI_HOME_DIR', str(tmp_path / 'nni-experiments'))
    manager = managers.GuardedManager(tmp_path)
    listed = tmp_path / 'nni-experiments' / '.experiment'
    listed.write_text(managers.json.dumps({'mine': {'id': 'mine', 'pid': manager.process.pid, 'tag': ['retiarii']}}))
    try:
        with manager.wait().experiment() as tell:
            tell('TR', TRIAL)
            managers.wait_until(lambda: [each for each in manager.trials() if each['status'] == 'RUNNING'])
            yield manager, managers.wait_until
    finally:
        manager.end()


def kill(page):
    """Kill the first trial, as a user does."""
    page._click('//button[@title="kill"]')
    page._click('//button[.="Yes"]')


def test_killing_a_trial(running, ui):
    manager, wait_until = running
    page = ui(manager.port).detail()
    assert [row['Status'] for row in page.trials()] == ['RUNNING']
    kill(page)
    page.wait_for('.ms-Dialog-main, .ms-MessageBar')
    assert [each['status'] for each in manager.trials()] == ['RUNNING']

    page = ui(f'{manager.port}/{manager.prefix}').detail()
    assert page.open_trial(0).split() == ['stage:"finalist"', 'conv1:8']
    kill(page)
    wait_until(lambda: [each['status'] for each in manager.trials()] == ['USER_CANCELED'])
    assert page.overview().status() == 'RUNNING'
