from __future__ import annotations

import errno
import shutil

import pytest

from nni_cafenet.errors import FolderError
from nni_cafenet.stages.folder_errors import folder_errors
from nni_cafenet.stages.folder_lock import locked_folder
from nni_cafenet.utils.files import write_text


@pytest.mark.parametrize('named', [True, False])
def test_a_full_disk(tmp_path, named):
    name = [str(tmp_path / 'history.jsonl')] if named else []
    with pytest.raises(FolderError, match='Free disk space, then run again') as error, folder_errors(tmp_path):
        raise OSError(errno.ENOSPC, 'No space left on device', *name)
    assert repr(str(tmp_path)) in str(error.value)
    assert ('history.jsonl' in str(error.value)) == named


def test_a_full_disk_behind_an_error_of_torch(tmp_path):
    error = RuntimeError('unexpected pos 640 vs 534')
    error.__context__ = OSError(errno.ENOSPC, 'No space left on device')
    with pytest.raises(FolderError, match='No space left on device'), folder_errors(tmp_path):
        raise error


def test_a_folder_that_is_removed(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()

    def run():
        with locked_folder(folder):
            shutil.rmtree(folder)
            (folder / 'history.jsonl').read_text()

    with pytest.raises(FolderError, match='was removed or renamed during the run'):
        run()


def test_a_folder_that_may_no_longer_be_written(tmp_path):
    with pytest.raises(FolderError, match='Give this user write access'), folder_errors(tmp_path):
        raise PermissionError(errno.EACCES, 'Permission denied', str(tmp_path / 'run.json'))


def test_other_errors_stay_as_they_are(tmp_path):
    for error in (
        ValueError('x'),
        FileNotFoundError(errno.ENOENT, 'No such file', str(tmp_path / 'a')),  # the folder is there
        PermissionError(errno.EACCES, 'Permission denied', '/data/images'),
        FolderError('the same'),
    ):
        with pytest.raises(type(error)) as found, folder_errors(tmp_path):
            raise error
        assert found.value is error
    with folder_errors(tmp_path):
        write_text(tmp_path / 'a', 'text')
