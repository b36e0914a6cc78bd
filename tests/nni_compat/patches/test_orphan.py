"""However early the process that started NNI's manager is killed: nothing continues, nothing listens."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from nni_cafenet.nni_compat.patches import manager_process

pytestmark = pytest.mark.skipif(not hasattr(os, 'killpg'), reason='needs process groups')

MAIN = """
import json, os, subprocess, sys, time
command, environment, folder = json.load(open(sys.argv[1]))
settings = json.loads(environment['NNI_CAFENET_MANAGER'])
environment['NNI_CAFENET_MANAGER'] = json.dumps({**settings, 'parent': os.getpid()})
print(subprocess.Popen(command, env=environment, cwd=folder, preexec_fn=os.setpgrp).pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def family(start_manager, monkeypatch, tmp_path):
    """``family()``: a main process, the manager that it has started, and its id."""
    mains = []

    class Recorded:
        """The command of a manager, which is not run here."""

        def __init__(self, command, cwd, env, **options):
            self.pid = self.returncode = None
            (tmp_path / 'command').write_text(json.dumps([command, env, str(cwd)]))

    def start():
        with monkeypatch.context() as patch:
            patch.setattr(manager_process.subprocess, 'Popen', Recorded)
            manager = start_manager()
        main = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', MAIN, str(tmp_path / 'command')], stdout=subprocess.PIPE, text=True
        )
        mains.append(main)
        pid = int(main.stdout.readline())
        manager.process = psutil.Process(pid)
        return main, manager

    yield start
    for main in mains:
        main.kill()
        main.communicate()


def gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def is_free(port):
    with socket.socket() as one:
        return one.connect_ex(('127.0.0.1', port)) != 0


@pytest.mark.parametrize('after', [0.0, 0.1, 0.4])
def test_killed_while_the_manager_starts(family, until, after):
    main, manager = family()
    time.sleep(after)
    main.kill()
    main.wait()
    until(lambda: gone(manager.process), 5)
    until(lambda: is_free(manager.port), 5)


def test_killed_while_the_manager_is_being_loaded(family, until):
    main, manager = family()
    manager.process.suspend()
    main.kill()
    main.wait()
    manager.process.resume()
    until(lambda: gone(manager.process), 5)
    until(lambda: is_free(manager.port), 5)


def test_killed_with_a_trial(family, until):
    main, manager = family()
    until(lambda: manager.request('GET', '/api/v1/nni/check-status')[1][:2] == '{"')
    with manager.experiment() as tell:
        tell('TR', {'parameter_id': 0, 'parameter_source': 'algorithm', 'parameters': {}, 'parameter_index': 0})
        until(lambda: [each for each in manager.trials() if each['status'] == 'RUNNING'])
        trials = manager.process.children()
        assert trials
        main.kill()
        main.wait()
    until(lambda: all(map(gone, [manager.process, *trials])), 20)
    until(lambda: is_free(manager.port), 5)


def test_it_lives_on_where_it_was_detached(family, until, start_manager, monkeypatch):
    monkeypatch.setattr(manager_process.os, 'getpid', lambda: 1)  # not this process: it would end at once
    manager = start_manager(mode='detach').wait()
    assert manager.process.poll() is None
