from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from nni_cafenet.errors import CafeNetError, FolderInUseError
from nni_cafenet.stages import folder_lock as lock
from nni_cafenet.stages.folder import RunFolder
from nni_cafenet.stages.folder_lock import locked_folder
from nni_cafenet.stages.resume_check import stages_record

pytest.importorskip('fcntl', reason='nothing is locked on this system')

HOLD = """
import pathlib, sys, time
from nni_cafenet.stages.folder_lock import locked_folder
with locked_folder(pathlib.Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.readline()
print('let go', flush=True)
sys.stdin.readline()
"""

RECORD = stages_record(supernet={}, scores={}, search={}, finalists={})


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder until it is sent a line, and lives until it is sent a second one."""
    with subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == 'held\n'
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_it_is(tmp_path, other):
    with pytest.raises(FolderInUseError) as error, locked_folder(tmp_path):
        pass
    said = str(error.value)
    assert f'process {other.pid} on {socket.gethostname()}, since 20' in said
    assert repr(str(tmp_path)) in said
    assert 'another directory' in said
    assert isinstance(error.value, CafeNetError)


def test_it_is_let_go_at_the_end_of_the_block(tmp_path, other):
    other.stdin.write('\n')
    other.stdin.flush()
    assert other.stdout.readline() == 'let go\n'
    with locked_folder(tmp_path):
        assert json.loads((tmp_path / 'process.json').read_text())['pid'] == os.getpid()
    assert other.poll() is None


def test_it_is_let_go_by_death(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with locked_folder(tmp_path):
        assert json.loads((tmp_path / 'process.json').read_text())['pid'] == os.getpid()


def test_an_error_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), locked_folder(tmp_path):
        raise ZeroDivisionError
    with locked_folder(tmp_path):
        pass
    assert lock._here == set()


def test_a_second_run_in_the_same_process_is_refused(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'run')
    with locked_folder(tmp_path / 'run'):
        with pytest.raises(FolderInUseError, match=f'process {os.getpid()} on'), locked_folder(tmp_path / 'link'):
            pass
        with pytest.raises(FolderInUseError), locked_folder(tmp_path / 'run'):
            pass


def test_a_forked_process_does_not_keep_it(tmp_path):
    code = f"""
import os, pathlib, sys, time
from nni_cafenet.stages.folder_lock import locked_folder
with locked_folder(pathlib.Path({str(tmp_path)!r})):
    forked = os.fork()
    if not forked:
        time.sleep(1000)
    print(forked, flush=True)
    os._exit(0)
"""
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) as process:
        forked = int(process.stdout.readline())
        process.wait()
        try:
            with locked_folder(tmp_path):
                pass
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def lockf(*_):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(lock.fcntl, 'lockf', lockf)
    with locked_folder(tmp_path):
        assert json.loads((tmp_path / 'process.json').read_text())['pid'] == os.getpid()


def test_a_system_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'fcntl', None)
    with locked_folder(tmp_path):
        assert (tmp_path / 'process.json').exists()


def test_only_the_process_that_makes_the_folder_holds_it(tmp_path, other):
    with RunFolder(tmp_path, RECORD, make=False).held():
        pass
    with pytest.raises(FolderInUseError), RunFolder(tmp_path, RECORD).held():
        pass


def test_a_folder_that_is_removed_and_made_again_is_told(tmp_path, caplog):
    folder = tmp_path / 'run'
    folder.mkdir()
    with locked_folder(folder):
        pass
    assert not caplog.records
    with locked_folder(folder):
        folder.rename(tmp_path / 'elsewhere')
        folder.mkdir()
    assert 'was removed or renamed during the run' in caplog.text
