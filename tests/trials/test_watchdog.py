from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from nni_cafenet.trials import watchdog
from nni_cafenet.trials.watchdog import end_group

pytestmark = pytest.mark.skipif(not hasattr(os, 'killpg'), reason='needs process groups')

SLEEP = 'import time; print("here", flush=True); time.sleep(1000)'
STUBBORN = f'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}'
FAMILY = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
MAIN = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location('watchdog', sys.argv[1])
watchdog = importlib.util.module_from_spec(spec)
spec.loader.exec_module(watchdog)
release = watchdog.ends_with_this_process(int(sys.argv[2]))
{}
"""


@pytest.fixture
def start():
    """``start(code, *arguments)``: a Python process, which is killed at the end; returned when it has printed a line."""
    started = []

    def start(code, *arguments, group=True):
        command = [sys.executable, '-c', code, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=group, text=True)
        started.append(process)
        return process, process.stdout.readline()

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def reap(process):
    """Take note of the end of a child, as the parent of a group has to."""
    threading.Thread(target=process.wait, daemon=True).start()


def main(then):
    return MAIN.format(then)


def test_a_group_is_ended_with_its_children(start):
    leader, child = start(FAMILY)
    reap(leader)
    end_group(leader.pid)
    assert leader.wait(10) == -signal.SIGTERM
    wait_until(lambda: gone(int(child)))


def test_what_does_not_obey_is_killed(start):
    leader, _ = start(STUBBORN)
    end_group(leader.pid, grace=0.2)
    assert leader.wait(10) == -signal.SIGKILL


def test_a_group_that_is_gone_is_no_error(start):
    leader, _ = start(SLEEP)
    reap(leader)
    end_group(leader.pid)
    leader.wait(10)
    end_group(leader.pid)
    assert leader.poll() == -signal.SIGTERM


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM])
def test_the_group_ends_when_the_main_process_is_killed(start, how):
    leader, child = start(FAMILY)
    process, _ = start(main('print("watching", flush=True); time.sleep(1000)'), watchdog.__file__, leader.pid)
    os.kill(process.pid, how)
    process.wait(10)
    assert leader.wait(10) == -signal.SIGTERM
    wait_until(lambda: gone(int(child)))


def test_it_lives_on_if_it_is_released(start):
    leader, _ = start(SLEEP)
    process, _ = start(main('release(); print("released", flush=True)'), watchdog.__file__, leader.pid)
    assert process.wait(10) == 0
    assert leader.poll() is None


def test_a_forked_process_that_holds_the_pipe_open_does_not_keep_the_group(start):
    leader, _ = start(SLEEP)
    fork = 'print(os.fork(), flush=True); time.sleep(1000)'
    process, forked = start(main(fork), watchdog.__file__, leader.pid)
    os.kill(process.pid, signal.SIGKILL)
    try:
        assert leader.wait(10) == -signal.SIGTERM
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended with the group
            os.kill(int(forked), signal.SIGKILL)


def test_the_watchdog_ends_with_the_group(start):
    leader, _ = start(SLEEP)
    code = main('print("watching", flush=True); time.sleep(1000)')
    process, _ = start(code, watchdog.__file__, leader.pid)
    (watching,) = psutil.Process(process.pid).children()
    os.killpg(leader.pid, signal.SIGKILL)
    leader.wait(10)
    wait_until(lambda: gone(watching.pid))
    assert process.poll() is None
