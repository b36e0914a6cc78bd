from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest
import torch

from nni_cafenet.errors import DamagedFileError
from nni_cafenet.utils.torch_files import check_not_truncated, load_torch, save_torch

STATE = {'w': torch.arange(500.0), 'epoch': 3, 'names': ['a', 'b']}


def test_what_is_saved_is_loaded_by_everybody(tmp_path: Path) -> None:
    path = tmp_path / 'x.pt'
    save_torch(STATE, path)
    for found in (load_torch(path, remedy=''), load_torch(path, remedy='', mmap=True), torch.load(path)):
        assert torch.equal(found['w'], STATE['w'])
        assert found['names'] == ['a', 'b']
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / 'x.pt'
    save_torch(STATE, path)
    content = path.read_bytes()
    for at in [*random.Random(0).sample(range(len(content)), 200), *range(len(content) - 110, len(content))]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(DamagedFileError, match=r'x\.pt is damaged .*, or delete it\.'):
            load_torch(path, remedy='delete it')


@pytest.mark.parametrize('size', [0, 1, 30, 1000, -1, -100])
def test_a_file_that_is_cut_short_is_noticed_at_its_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / 'x.pt'
    save_torch(STATE, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedFileError, match='its end is missing'):
        check_not_truncated(path, remedy='delete it')
    with pytest.raises(DamagedFileError):
        load_torch(path, remedy='delete it')


def test_a_file_of_another_program_has_no_checksum(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / 'x.pt')
    with pytest.raises(DamagedFileError, match='has no checksum'):
        load_torch(tmp_path / 'x.pt', remedy='delete it')


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / 'ran',)

    save_torch({'a': Code()}, tmp_path / 'x.pt')
    with pytest.raises(DamagedFileError):
        load_torch(tmp_path / 'x.pt', remedy='delete it')
    assert not (tmp_path / 'ran').exists()
