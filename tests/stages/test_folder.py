from __future__ import annotations

import errno
import json
import os
import zipfile

import numpy as np
import pytest
import torch

from nni_cafenet.errors import CafeNetError, FolderError, ResumeError
from nni_cafenet.stages.folder import RunFolder, check_checkpoint, new_run_path
from nni_cafenet.stages.resume_check import stages_record
from nni_cafenet.supernet.plain_checkpoint import plain
from nni_cafenet.utils.json_records import read_record
from nni_cafenet.utils.torch_files import save_torch

SUPERNET = {'seed': 0, 'macs': 100, 'choices': {'a': [1, 2], 'b': (1, 2, 3)}}
SETTINGS = stages_record(supernet=SUPERNET, scores={}, search={'budget': {'macs': 90}}, finalists={})


def test_a_new_folder_holds_the_settings(tmp_path):
    folder = RunFolder(tmp_path / 'a' / 'run', SETTINGS)
    assert read_record(folder.path / 'run.json', remedy='') == folder.record
    assert folder.record.items() >= SETTINGS.items()
    assert folder.load_checkpoint() is None
    assert not folder.trained


def test_other_processes_make_nothing(tmp_path):
    folder = RunFolder(tmp_path / 'run', SETTINGS, make=False)
    assert folder.load_checkpoint() is None
    assert not folder.trained
    assert not list(tmp_path.iterdir())
    RunFolder(tmp_path / 'run', SETTINGS)
    with pytest.raises(ResumeError):
        RunFolder(tmp_path / 'run', {**SETTINGS, 'supernet': {}}, make=False)


def test_the_same_settings_go_on(tmp_path):
    RunFolder(tmp_path, SETTINGS).mark_trained(epochs=3)
    again = RunFolder(tmp_path, json.loads(json.dumps(SETTINGS)))
    assert again.trained
    assert read_record(tmp_path / 'supernet.json', remedy='') == {'epochs': 3}


def test_a_folder_with_other_things_in_it(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    RunFolder(tmp_path, SETTINGS)
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_checkpoints_are_read_to_the_cpu(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS)
    mine = {'best': np.float64(0.5), 'path': tmp_path}  # what a callback of the user may keep
    save_torch(plain({'state_dict': {'w': torch.ones(2)}, 'callbacks': mine}), folder.checkpoint)
    checkpoint = folder.load_checkpoint()
    assert checkpoint['callbacks'] == mine
    assert checkpoint['state_dict']['w'].tolist() == [1, 1]


def test_paths_of_new_runs_differ_and_are_not_made(tmp_path):
    paths = {new_run_path(tmp_path) for _ in range(20)}
    assert len(paths) == 20
    assert all(path.parent == tmp_path / 'cafenet' for path in paths)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(FolderError) as error:
        RunFolder(tmp_path / 'file' / 'run', SETTINGS)
    said = str(error.value)
    assert said.startswith(f'directory={str(tmp_path / "file" / "run")!r}: ')
    assert 'another directory' in said
    assert isinstance(error.value, (CafeNetError, OSError))
    assert (tmp_path / 'file').read_text() == 'mine'


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_is_full_or_read_only_leaves_nothing_half_written(tmp_path, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr('nni_cafenet.utils.files.os.fsync', fail)
        with pytest.raises(FolderError, match=os.strerror(code)) as error:
            RunFolder(tmp_path / 'run', SETTINGS)
        assert str(tmp_path / 'run' / 'run.json') in str(error.value)
    assert list((tmp_path / 'run').iterdir()) == []
    assert RunFolder(tmp_path / 'run', SETTINGS).load_checkpoint() is None


@pytest.mark.parametrize('size', [0, 1, 1000, -1])
def test_a_checkpoint_that_is_cut_short_is_refused(tmp_path, size):
    folder = RunFolder(tmp_path, SETTINGS)
    save_torch({'state_dict': {'w': torch.ones(200)}}, folder.checkpoint)
    whole = folder.checkpoint.read_bytes()
    folder.checkpoint.write_bytes(whole[:size])
    with pytest.raises(ResumeError, match='is damaged') as error:
        folder.load_checkpoint()
    assert str(folder.checkpoint) in str(error.value)
    assert 'delete it to train that network anew' in str(error.value)
    with pytest.raises(ResumeError):
        check_checkpoint(folder.checkpoint)
    folder.checkpoint.write_bytes(whole)
    assert folder.load_checkpoint()['state_dict']['w'].sum() == 200


def test_a_checkpoint_that_is_not_there_is_none_that_is_damaged(tmp_path):
    check_checkpoint(tmp_path / 'supernet.ckpt')
    assert RunFolder(tmp_path, SETTINGS).load_checkpoint() is None


def test_a_checkpoint_that_was_overwritten(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS)
    with zipfile.ZipFile(folder.checkpoint, 'w') as file:
        file.writestr('notes.txt', 'mine')
    with pytest.raises(ResumeError, match='is damaged'):
        folder.load_checkpoint()


def test_stages_that_are_done(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS)
    assert not folder.searched
    folder.mark_searched()
    assert folder.searched
    assert not RunFolder(tmp_path, {**SETTINGS, 'search': {'budget': {'macs': 80}}}).searched


class Space:
    """What the check of a space asks for."""

    full_widths = {'a': 2, 'b': 3}
    choices = {'a': (1, 2), 'b': (1, 2, 3)}

    def macs(self, widths):
        return 100


def test_a_space_that_trials_make_is_that_of_the_run(tmp_path):
    RunFolder(tmp_path, SETTINGS).check_space(Space())
    other = {**SETTINGS, 'supernet': {'macs': 99, 'choices': {'a': [1, 2]}}}
    RunFolder(tmp_path / 'other', other)
    with pytest.raises(ResumeError, match=r'macs: 99 there, 100 now; choices.b: None there, \[1, 2, 3\] now'):
        RunFolder(tmp_path / 'other').check_space(Space())
