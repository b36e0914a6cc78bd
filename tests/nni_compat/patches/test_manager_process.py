from __future__ import annotations

import json
import os
import stat
import subprocess
from types import SimpleNamespace

import nni.experiment.launcher as launcher
import pytest

from nni_cafenet.errors import UnprotectedManagerError
from nni_cafenet.nni_compat.patches import patch_nni


def test_nobody_else_reads_the_token(manager):
    token = manager.prefix[1:]
    pids = [manager.process.pid]
    assert all(token not in open(f'/proc/{pid}/cmdline').read() for pid in pids)  # noqa: SIM115
    experiment = manager.log.parent.parent
    listed = manager.root / 'nni-experiments' / '.experiment'
    assert [stat.S_IMODE(path.stat().st_mode) for path in (experiment, listed)] == [0o700, 0o600]
    assert token not in manager.log.read_text()


def test_a_manager_without_a_token_is_not_started(tmp_path, monkeypatch):
    patch_nni()
    monkeypatch.setattr(subprocess, 'Popen', None)
    args = SimpleNamespace(url_prefix='own', experiments_directory=str(tmp_path), experiment_id='x')
    with pytest.raises(UnprotectedManagerError, match='without a token in url_prefix'):
        launcher._start_rest_server(args, SimpleNamespace(value='background'))


def test_a_detached_manager_writes_its_output_into_files(start_manager):
    manager = start_manager(mode='detach').wait()
    assert 'Experiment mine start: ' in (manager.log.parent / 'nnictl_stdout.log').read_text()


def test_the_environment_is_that_of_this_process(manager):
    environment = open(f'/proc/{manager.process.pid}/environ').read()  # noqa: SIM115
    settings = json.loads(environment.partition('NNI_CAFENET_MANAGER=')[2].partition('\0')[0])
    assert settings['parent'] == os.getpid()
    assert 'NNI_CAFENET_MANAGER' not in os.environ


def test_mending_twice_changes_nothing():
    patch_nni()
    before = launcher._start_rest_server, launcher._check_rest_server
    patch_nni()
    assert (launcher._start_rest_server, launcher._check_rest_server) == before
