from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'

# It writes a file atomically, appends a line to a log, and replaces the file without flushing it.
SCRIPT = """
import os, sys
from pathlib import Path
from campaign.faults import Fault, watch
folder, kind, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
operations = watch([folder], Fault(kind, at, seed=1) if at else None)

def write(path, text, flush):
    with open(f'{path}.new', 'w') as file:
        file.write(text)
        file.flush()
        if flush:
            os.fsync(file.fileno())
    os.replace(f'{path}.new', path)
    if flush:
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

folder.mkdir(exist_ok=True)
Path(folder.parent, 'elsewhere').write_text('not watched')
write(folder / 'a', 'old text', flush=True)
with open(folder / 'log', 'a') as file:
    file.write('a line')
write(folder / 'a', 'new text', flush=False)
(folder / 'log').read_text()
(folder / 'log').unlink()
print(*(f'{each.name} {each.path}' for each in operations()), sep=', ')
"""
OPERATIONS = 'mkdir ., open a.new, fsync a.new, rename a, fsync ., open log, open a.new, rename a, remove log'.split(
    ', '
)


def default_interrupt():
    """Let Ctrl-C end the process, in a test run that was started in the background too, where it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def run(tmp_path):
    def run(kind, at):
        command = [sys.executable, '-c', SCRIPT, str(tmp_path / 'run'), kind, str(at)]
        done = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, preexec_fn=default_interrupt)
        files = sorted((tmp_path / 'run').iterdir()) if (tmp_path / 'run').exists() else []
        return done, {path.name: path.read_text() for path in files}

    return run


def test_operations_are_counted(run):
    done, files = run('kill', 0)
    assert done.stdout.strip().split(', ') == OPERATIONS
    assert files == {'a': 'new text'}


@pytest.mark.parametrize(
    ('at', 'files'),
    [
        (1, {}),
        (4, {'a.new': 'old text'}),
        (6, {'a': 'old text'}),
        (8, {'a': 'old text', 'a.new': 'new text', 'log': 'a line'}),
        (9, {'a': 'new text', 'log': 'a line'}),
    ],
)
def test_a_process_is_killed_before_the_operation(run, at, files):
    done, found = run('kill', at)
    assert done.returncode == -signal.SIGKILL
    assert found == files


def test_a_file_that_is_being_written_is_torn(run):
    done, files = run('torn', 3)
    assert done.returncode == -signal.SIGKILL
    (text,) = files.values()
    assert 'old text'.startswith(text)
    assert text != 'old text'


def test_what_was_not_flushed_is_lost_in_a_power_failure(run):
    done, files = run('power', 9)
    assert done.returncode == -signal.SIGKILL
    assert files['log'] != 'a line'
    assert files['a'] == 'old text' or ('new text'.startswith(files['a']) and files['a'] != 'new text')
    assert run('power', 6)[1]['a'] == 'old text'  # what was flushed is not


@pytest.mark.parametrize('at', [2, 3, 4, 6])
def test_a_full_disk(run, at):
    done, files = run('full', at)
    assert done.returncode == 1
    assert 'No space left on device' in done.stderr
    assert 'a' not in files or files['a'] == 'old text'


def test_signals(run):
    assert run('interrupt', 4)[0].returncode in (-signal.SIGINT, 130)
    assert run('terminate', 4)[0].returncode == -signal.SIGTERM
