from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from nni.nas.execution import SequentialExecutionEngine

from nni_cafenet.errors import LimitReachedError
from nni_cafenet.stages.limits import check_trainings, within_duration


@pytest.fixture(params=['at a terminal', 'in the background'])
def ctrl_c(request):
    """How the process takes Ctrl-C: one that a shell started in the background ignores it."""
    background = request.param == 'in the background'
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if background else signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_block_that_takes_longer_ends_with_the_limit(ctrl_c):
    start = time.monotonic()
    taken = signal.getsignal(signal.SIGINT)

    def work():
        with within_duration(0.1):
            while time.monotonic() < start + 30:
                time.sleep(0.01)

    with pytest.raises(LimitReachedError, match='duration of 0.1 s is over.*raise the limit'):
        work()
    assert time.monotonic() < start + 20
    assert signal.getsignal(signal.SIGINT) is taken


@pytest.mark.parametrize('ctrl_c', ['in the background'], indirect=True)
def test_an_ignored_ctrl_c_stays_ignored(ctrl_c):
    with within_duration(60):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)


@pytest.mark.parametrize('seconds', [None, 60])
def test_a_block_that_ends_in_time(seconds):
    before = set(threading.enumerate())
    with within_duration(seconds):
        pass
    time.sleep(0.05)
    assert not [each for each in set(threading.enumerate()) - before if isinstance(each, threading.Timer)]


def test_ctrl_c_stays_what_it_is():
    with pytest.raises(KeyboardInterrupt, match='user'), within_duration(60):
        raise KeyboardInterrupt('user')


def test_another_thread_has_no_limit():
    done = []

    def work():
        with within_duration(0.01):
            time.sleep(0.1)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_an_engine_that_accepts_no_more():
    check_trainings(SequentialExecutionEngine())
    check_trainings(SequentialExecutionEngine(max_model_count=1))
    with pytest.raises(LimitReachedError, match='max_trial_number=0 is reached'):
        check_trainings(SequentialExecutionEngine(max_model_count=0))
