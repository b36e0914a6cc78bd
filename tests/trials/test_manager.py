from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from nni_cafenet.errors import ExperimentEndedError
from nni_cafenet.trials.manager import Manager

CHANNEL = logging.getLogger('nni.runtime.command_channel.websocket.channel')


@pytest.fixture
def child(manager):
    """A process in the place of the NNI manager: it ends with the code that it is sent."""
    code = 'import os, sys; os._exit(int(sys.stdin.readline()))'
    process = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, text=True)
    manager._proc = process
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(autouse=True)
def no_filters_left():
    before = list(CHANNEL.filters)
    yield
    CHANNEL.filters[:] = before


def end(child, code):
    child.communicate(f'{code}\n')
    child.wait()


def log(manager, *lines):
    path = manager.folder / 'digits' / 'log' / 'nnimanager.log'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(lines))


def test_while_it_lives_nothing_is_said(manager, child):
    checked = Manager(manager)
    checked.check()
    assert manager._channel._channel._ensure_conn() == 'connection'
    assert CHANNEL.filter(logging.makeLogRecord({}))


def test_stopped_from_outside_is_like_ctrl_c(manager, child, caplog):
    checked = Manager(manager)
    end(child, 0)
    with pytest.raises(KeyboardInterrupt, match=r'^The experiment was stopped by nnictl or by another process\.$'):
        checked.check()
    assert not caplog.records
    assert manager._proc is None  # NNI has nothing to stop


@pytest.mark.parametrize('code', [1, -9])
def test_a_manager_that_has_failed_or_was_killed(manager, child, code):
    checked = Manager(manager)
    if code < 0:
        child.kill()
        child.wait()
    else:
        end(child, code)
    with pytest.raises(ExperimentEndedError) as error:
        checked.check()
    said = str(error.value)
    assert f'the NNI manager (process {child.pid}) has ended with exit code {code}' in said
    assert "NasExperiment(space, evaluator, strategy, config, id='digits').resume(port)" in said
    assert 'The last errors' not in said
    assert manager._proc is None


def test_the_last_errors_of_this_session_are_shown(manager, child):
    log(
        manager,
        '[1999-01-01 00:00:00] ERROR (Training) of an earlier session',
        *(f'[2999-01-01 00:00:00] ERROR (Training) number {number}' for number in range(5)),
        '[2999-01-01 00:00:00] INFO (Training) fine',
    )
    checked = Manager(manager)
    end(child, 0)  # NNI ends well where it could not begin, too
    with pytest.raises(ExperimentEndedError) as error:
        checked.check()
    said = str(error.value)
    assert 'exit code 0' in said
    assert str(manager.folder / 'digits' / 'log' / 'nnimanager.log') in said
    assert [f'number {number}' in said for number in range(5)] == [False, False, True, True, True]
    assert 'earlier' not in said
    assert 'fine' not in said


def test_nnis_listening_thread_ends_without_a_word(manager, child, capsys):
    checked = Manager(manager)
    channel, failures = manager._channel._channel, []

    def listen():
        for _ in range(5):
            try:
                channel._ensure_conn()
            except Exception as error:  # as NNI's channel does
                failures.append(error)
            except SystemExit:
                return

    manager._channel_listen_thread = thread = threading.Thread(target=listen)
    end(child, 1)
    CHANNEL.error('Failed to receive command. Retry in 0s')
    thread.start()
    thread.join()
    assert failures == []
    assert capsys.readouterr().err == ''
    with pytest.raises(ConnectionError, match='has ended'):  # in another thread
        channel._ensure_conn()
    with pytest.raises(ExperimentEndedError):
        checked.check()


def test_without_a_process_of_its_own(manager):
    checked = Manager(manager)
    checked.check()
    assert manager._channel._channel._ensure_conn() == 'connection'
    assert isinstance(checked.ended('it was told so'), ExperimentEndedError)
