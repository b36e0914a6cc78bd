from __future__ import annotations

import errno
import io
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from nni_cafenet.utils import files
from nni_cafenet.utils.files import (
    LineReader,
    append_line,
    is_temporary_file,
    read_jsonl,
    remove_temporary_files,
    write_bytes,
    write_json,
    write_text,
)
from nni_cafenet.utils.torch_files import save_torch


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- whole files ---


def test_write_bytes_replaces(tmp_path: Path) -> None:
    path = tmp_path / 'picture.png'
    for content in (b'\x89PNG\r\n', b''):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ['picture.png']


def test_write_text_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / 'a' / 'b' / 'note.txt'
    write_text(path, 'one\n')
    write_text(str(path), 'zwölf\r\n')
    assert path.read_bytes() == 'zwölf\r\n'.encode()
    assert names(path.parent) == ['note.txt']


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_text(tmp_path / 'new', '')
    finally:
        os.umask(old)
    assert (tmp_path / 'new').stat().st_mode & 0o777 == 0o644
    (tmp_path / 'new').chmod(0o600)
    write_text(tmp_path / 'new', 'kept')
    assert (tmp_path / 'new').stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / 'real').write_text('old')
    (tmp_path / 'link').symlink_to('real')
    write_text(tmp_path / 'link', 'new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real').read_text() == 'new'


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match='is a folder'):
        write_text(tmp_path, 'text')


def test_write_json(tmp_path: Path) -> None:
    path = tmp_path / 'widths.json'
    write_json(path, {'b': 2, 'a': [1, 2]})
    assert path.read_text() == '{\n  "b": 2,\n  "a": [\n    1,\n    2\n  ]\n}\n'


def test_write_json_takes_arrays_tensors_and_paths(tmp_path: Path) -> None:
    path = tmp_path / 'x.json'
    write_json(
        path,
        [np.int64(3), np.float32(0.5), np.arange(2), torch.tensor([4, 5]), Path('x'), 'ü'],
    )
    assert json.loads(path.read_text('utf-8')) == [3, 0.5, [0, 1], [4, 5], 'x', 'ü']


def test_what_json_cannot_say_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'x.json'
    write_json(path, {'a': 1})
    with pytest.raises(TypeError, match='object has no JSON form'):
        write_json(path, {'a': object()})
    assert json.loads(path.read_text()) == {'a': 1}
    assert names(tmp_path) == ['x.json']


def test_save_torch(tmp_path: Path) -> None:
    path = tmp_path / 'x.pt'
    save_torch({'weight': torch.ones(2)}, path)
    assert torch.equal(torch.load(path, weights_only=True)['weight'], torch.ones(2))


class Breaks:
    """An object that fails while it is being saved, after other bytes were written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[object, ...]:
        raise self.error


@pytest.mark.parametrize('error', [RuntimeError('full'), KeyboardInterrupt()])
def test_failure_mid_write_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / 'x.pt'
    save_torch({'weight': torch.ones(2)}, path)
    before = path.read_bytes()
    with pytest.raises(type(error)):
        save_torch([torch.zeros(1000), Breaks(error)], path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ['x.pt']


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_failing_disk_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / 'x.txt'
    write_text(path, 'old')

    def fail(*args: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match='No space left'):
        write_text(path, 'new')
    monkeypatch.undo()
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['x.txt']


# --- lines ---


def test_append_and_read(tmp_path: Path) -> None:
    path = tmp_path / 'a' / 'history.jsonl'
    for record in ({'n': 1}, {'n': 2, 'ü': 'ä'}):
        append_line(path, json.dumps(record, ensure_ascii=False))
    assert read_jsonl(path) == [{'n': 1}, {'n': 2, 'ü': 'ä'}]
    assert path.read_text('utf-8') == '{"n": 1}\n{"n": 2, "ü": "ä"}\n'


def test_append_refuses_two_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='single line'):
        append_line(tmp_path / 'x', 'one\ntwo')
    assert names(tmp_path) == []


@given(cut=st.integers(0, 60))
def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp('cut') / 'history.jsonl'
    lines = [json.dumps({'n': n, 'ü': 'ä' * n}, ensure_ascii=False) for n in range(4)]
    content = ''.join(line + '\n' for line in lines).encode()
    path.write_bytes(content[:cut])
    # By hand: lines that fit into the cut, whether or not their line break does.
    ends = [len('\n'.join(lines[: n + 1]).encode()) for n in range(4)]
    whole = sum(end <= cut for end in ends)
    assert [record['n'] for record in read_jsonl(path)] == list(range(whole))
    append_line(path, '{"n": 99}')
    assert [record['n'] for record in read_jsonl(path)] == [*range(whole), 99]


@pytest.mark.parametrize('end', ['{"n": 2', '12', '\0\0\0', '"text"', 'tru'])
def test_an_unfinished_last_line_is_dropped_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    path = tmp_path / 'history.jsonl'
    path.write_text('{"n": 1}\n' + end)
    with caplog.at_level(logging.WARNING):
        assert read_jsonl(path) == [{'n': 1}]
    assert 'partial last line' in caplog.text
    assert 'last line, 2' in caplog.text
    assert path.read_text() == '{"n": 1}\n'


def test_damage_elsewhere_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'history.jsonl'
    damaged = '{"n": 1}\n{"n"\n{"n": 3}\n'
    path.write_text(damaged)
    with pytest.raises(ValueError, match=r'history.jsonl, line 2 is not JSON'):
        read_jsonl(path)
    assert path.read_text() == damaged


def test_a_bad_last_line_with_its_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'history.jsonl'
    path.write_text('{"n": 1}\n{"n"\n')
    with pytest.raises(ValueError, match='line 2'):
        read_jsonl(path)


def test_blank_lines_and_empty_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'history.jsonl'
    path.write_text('')
    assert read_jsonl(path) == []
    path.write_text('\n{"n": 1}\n\n')
    assert read_jsonl(path) == [{'n': 1}]
    assert not caplog.records


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='history.jsonl'):
        read_jsonl(tmp_path / 'history.jsonl')


def test_a_file_that_cannot_be_repaired_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / 'history.jsonl'
    path.write_text('{"n": 1}\n{"n"')

    def refuse(name: object, mode: str = 'r') -> io.BytesIO:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(files, 'open', refuse, raising=False)
    assert read_jsonl(path) == [{'n': 1}]
    assert 'could not be repaired' in caplog.text


def test_an_unfinished_line_is_not_joined_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / 'history.jsonl'
    path.write_text('{"n"')
    append_line(path, '{"n": 2}')
    assert path.read_text() == '{"n"\n{"n": 2}\n'


def test_lines_of_a_killed_process_are_there(tmp_path: Path) -> None:
    path = tmp_path / 'history.jsonl'
    code = (
        'import os, signal, sys\n'
        'from nni_cafenet.utils.files import append_line\n'
        'for n in range(3):\n'
        '    append_line(sys.argv[1], \'{"n": %d}\' % n)\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    root = Path(files.__file__).parents[2]
    done = subprocess.run([sys.executable, '-c', code, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_jsonl(path) == [{'n': 0}, {'n': 1}, {'n': 2}]


def test_a_full_disk_says_which_file_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'lines.jsonl'
    append_line(path, '{"a": 1}')

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')  # as writing bytes does: without a name

    monkeypatch.setattr('nni_cafenet.utils.files.os.fsync', fail)
    for write in (lambda: append_line(path, '{"a": 2}'), lambda: write_text(path, 'text')):
        with pytest.raises(OSError, match='No space left on device') as error:
            write()
        assert error.value.filename == str(path)
        assert str(error.value).endswith(f"No space left on device: '{path}'")
        assert error.value.errno == errno.ENOSPC
    assert [item.name for item in tmp_path.iterdir()] == ['lines.jsonl']


# --- lines that another process appends ------------------------------------------------------------


def test_leftovers_of_killed_writers(tmp_path: Path) -> None:
    write_text(tmp_path / 'a.json', 'whole')
    names = ['.a.json.0123abcd.tmp', 'below/.b.ckpt.89abcdef.tmp', '.new.0123abcd.tmp', '.users.tmp', 'a.0123abcd.tmp']
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('half')
        os.utime(tmp_path / name, (100, 200 if 'new' in name else 100))
    assert [is_temporary_file(tmp_path / name) for name in names] == [True, True, True, False, False]
    remove_temporary_files(tmp_path, before=150)
    assert sorted(path.name for path in tmp_path.rglob('*') if path.is_file()) == [
        '.new.0123abcd.tmp',
        '.users.tmp',
        'a.0123abcd.tmp',
        'a.json',
    ]


def test_lines_are_read_as_they_come(tmp_path: Path) -> None:
    reader = LineReader(tmp_path / 'lines.jsonl')
    assert reader.read() == []
    append_line(reader.path, '{"a": 1}')
    append_line(reader.path, '[2]')
    assert reader.read() == [{'a': 1}, [2]]
    assert reader.read() == []
    append_line(reader.path, '{"a": "é"}')
    assert reader.read() == [{'a': 'é'}]
    assert LineReader(reader.path).read() == [{'a': 1}, [2], {'a': 'é'}]


def test_a_line_in_the_middle_of_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / 'lines.jsonl'
    reader, found = LineReader(path), []
    with open(path, 'ab', buffering=0) as file:
        for byte in '{"a": "é"}\n\n{"a": 2}\n'.encode():
            file.write(bytes([byte]))
            found += reader.read()
    assert found == [{'a': 'é'}, {'a': 2}]


def test_what_a_killed_writer_left_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'lines.jsonl'
    append_line(path, '{"a": 1}')
    with open(path, 'a') as file:
        file.write('{"a": 12')
    reader = LineReader(path)
    assert reader.read() == [{'a': 1}]
    assert not caplog.records
    append_line(path, '{"a": 3}')
    assert reader.read() == [{'a': 3}]
    assert [record.getMessage() for record in caplog.records] == [f'{path}: skipped a partial line']


@given(
    numbers=st.lists(st.integers(0, 10**6), max_size=12),
    cuts=st.lists(st.integers(0, 120), max_size=6),
    kill=st.booleans(),
)
def test_every_finished_line_is_read_once_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], cuts: list[int], kill: bool
) -> None:
    path = tmp_path_factory.mktemp('lines') / 'lines.jsonl'
    content = b''.join(json.dumps({'n': number}).encode() + b'\n' for number in numbers)
    reader, found, at = LineReader(path), [], 0
    for cut in [*sorted(cuts), len(content)]:
        with open(path, 'ab') as file:
            file.write(content[at:cut])
        at = max(at, min(cut, len(content)))
        found += reader.read()
        assert found == [{'n': number} for number in numbers[: content[:at].count(b'\n')]]
    if kill:
        with open(path, 'ab') as file:
            file.write(b'{"n": ')
        append_line(path, '{"n": -1}')
        assert reader.read() == [{'n': -1}]
    assert found == [{'n': number} for number in numbers]


def test_paths_are_whole_from_the_first_call_on(tmp_path, monkeypatch):
    from nni_cafenet import CafeNet
    from nni_cafenet.pruning.checks import run_folder
    from nni_cafenet.utils.files import absolute_path

    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path)
    strategy, folder = CafeNet('50%', directory='run', trial_directory='~/run'), run_folder('pruned')
    (tmp_path / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'other')
    assert strategy.directory == tmp_path / 'run'
    assert strategy.trial_directory == str(tmp_path / 'home' / 'run')
    assert folder == tmp_path / 'pruned'
    assert absolute_path('~/a') == tmp_path / 'home' / 'a'
