"""examples/web_ui.py, watched in NNI's web UI while it runs.

``NNI_CAFENET_SCREENSHOTS=docs/images pytest tests/web_ui`` runs it at full length and keeps the pictures.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from nni.experiment import rest

EXAMPLE = pathlib.Path(__file__).parents[2] / 'examples' / 'web_ui.py'
SHORT = '--epochs 2 --generations 1 --finalists 1'.split()
FULL = '--model efficientnet_b0 --epochs 3 --generations 2 --finalists 2'.split()
OPTIONS, SHOWN = (FULL, 14) if os.environ.get('NNI_CAFENET_SCREENSHOTS') else (SHORT, 1)


@pytest.fixture
def example(tmp_path, driver):
    """Run the example where there is a browser, and end it by Ctrl-C: ``example(word)`` asks NNI's REST API."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(EXAMPLE), '--port', str(port), '--output', str(tmp_path / 'runs'), '--keep-open']
    with open(tmp_path / 'output', 'w') as output:
        process = subprocess.Popen(
            [*command, *OPTIONS],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, 'HOME': str(tmp_path)},
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
        )

    def get(word: str):
        assert process.poll() is None, 'the example has ended'
        return rest.get(port, word)

    get.port = port
    try:
        yield get
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                rest.delete(port, 'experiment')
            process.kill()
            process.wait()
        print((tmp_path / 'output').read_text())  # pytest shows it where the test has failed


def wait_until(condition, seconds=2400):
    """Return the condition's first true value; while nobody answers it is not true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.3)
    return pytest.fail(f'not true within {seconds} seconds')


@pytest.mark.timeout(4800)
def test_watching_the_example(example, ui, tmp_path):
    wait_until(lambda: example('trial-jobs'))
    page = ui(example.port).detail()

    def points():
        page.refresh()
        return sum(map(len, page.intermediate_results().values()))

    first = wait_until(points)
    wait_until(lambda: points() > first)

    # In the middle of the run: the widths that were scored so far.
    wait_until(lambda: len(records(example)) > SHOWN)
    while_it_runs = page.overview().top_trials()
    assert page.status() == 'RUNNING'
    assert len(while_it_runs) >= min(10, SHOWN + 1)
    assert {trial['ID'].partition('-')[0] for trial in while_it_runs} == {'widths'}
    page.picture('web-ui-overview-while-it-runs', {str(tmp_path): '~', sys.executable: 'python'})
    plot = page.detail().hyper_parameters()
    assert plot.axes[-6:] == ['stage', 'MACs', 'MACs %', 'params', 'default', 'score']
    assert len(plot.lines) > SHOWN
    assert {line['stage'] for line in plot.lines} == {'search'}
    page.picture('web-ui-while-it-runs')

    wait_until(lambda: 'stays open' in (tmp_path / 'output').read_text())
    jobs = example('trial-jobs')
    expected = [each for each in map(drawn, jobs) if each]
    page.detail()
    page.add_columns('stage (space)', 'MACs (space)', 'score (metric)')
    plot = page.hyper_parameters()
    page.picture('web-ui-hyper-parameters')
    assert set(plot.axes) == set(expected[0])
    by_cost = operator.itemgetter('MACs', 'default', 'score')
    for line, trial in zip(sorted(plot.lines, key=by_cost), sorted(expected, key=by_cost), strict=True):
        assert line.pop('stage') == trial.pop('stage')
        assert line == pytest.approx(trial, rel=1e-3)

    assert {trial['status'] for trial in jobs} == {'SUCCEEDED'}
    kinds = [re.sub(r'-?\d*-\w{5}$', '', trial['trialJobId']) for trial in jobs if not is_record(trial)]
    finalists = kinds.count('finalist')
    assert kinds[0] == 'supernet'
    assert kinds.count('search') in (1, 2)
    assert kinds[-1 - finalists :] == ['finalist'] * finalists + ['baseline']
    assert len(records(example)) == min(len(expected), len(expected) - finalists - 1)
    accuracies = [each['default'] for each in expected]  # of all stages: one axis has one unit
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)

    page.intermediate_results()
    page.picture('web-ui-intermediate-results')
    top = page.overview().top_trials()
    page.picture('web-ui-overview', {str(tmp_path): '~', sys.executable: 'python'})
    best = sorted(accuracies, reverse=True)[: len(top)]
    assert [float(trial['Default metric']) for trial in top] == pytest.approx(best, abs=1e-5)


def parameters(trial):
    return json.loads(trial['hyperParameters'][0])['parameters']


def is_record(trial):
    return 'ended' in parameters(trial)


def records(example):
    return [trial for trial in example('trial-jobs') if is_record(trial)]


def drawn(trial):
    """What the plot must show of a trial, as NNI has recorded it: ``{axis: value}``; nothing without a final result."""
    if 'finalMetricData' not in trial:
        return {}
    return {**parameters(trial)['mutation_summary'], **json.loads(json.loads(trial['finalMetricData'][-1]['data']))}
