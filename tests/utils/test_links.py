from __future__ import annotations

import json
from pathlib import Path

import pytest

from nni_cafenet.errors import FolderError
from nni_cafenet.stages.folder_lock import locked_folder
from nni_cafenet.utils.files import append_line, write_text
from nni_cafenet.utils.json_records import append_record, write_record
from nni_cafenet.utils.links import child_path
from nni_cafenet.utils.torch_files import save_torch

WRITERS = {
    'write_text': lambda path: write_text(path, 'x'),
    'append_line': lambda path: append_line(path, 'x'),
    'write_record': lambda path: write_record(path, {}),
    'append_record': lambda path: append_record(path, {}),
    'save_torch': lambda path: save_torch({}, path),
}


@pytest.mark.parametrize('exists', [True, False])
@pytest.mark.parametrize('writer', WRITERS)
def test_nothing_is_written_through_a_link_into_another_folder(tmp_path: Path, writer: str, exists: bool) -> None:
    run, mine = tmp_path / 'run', tmp_path / 'mine.txt'
    run.mkdir()
    if exists:
        mine.write_text('mine')
    (run / 'file').symlink_to(mine)
    with pytest.raises(FolderError, match=r'file is a link to .*mine\.txt, in another folder.*Remove the link'):
        WRITERS[writer](run / 'file')
    assert mine.exists() is exists
    assert not exists or mine.read_text() == 'mine'


def test_the_lock_is_no_way_through_either(tmp_path: Path) -> None:
    run, mine = tmp_path / 'run', tmp_path / 'mine.txt'
    run.mkdir()
    mine.write_text('mine')
    (run / 'process.json').symlink_to(mine)
    with pytest.raises(FolderError), locked_folder(run):
        pass
    assert mine.read_text() == 'mine'


def test_a_link_in_the_same_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to('real')
    append_line(tmp_path / 'link', json.dumps(1))
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real').read_text() == '1\n'


def test_a_folder_that_is_reached_by_a_link_is_written_to(tmp_path: Path) -> None:
    (tmp_path / 'real').mkdir()
    (tmp_path / 'scratch').symlink_to('real')
    write_text(tmp_path / 'scratch' / 'x', 'x')
    assert child_path(tmp_path / 'scratch', 'finalists', '1') == tmp_path / 'scratch' / 'finalists' / '1'


@pytest.mark.parametrize('parts', [('..',), ('a', '../../b'), ('/etc',), ('',), ('out',), ('out', 'x')])
def test_what_leads_out_of_a_folder_is_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'out').symlink_to(tmp_path)
    with pytest.raises(FolderError, match='leads out of the folder'):
        child_path(tmp_path / 'run', *parts)
