from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from nni.nas.utils.serializer import TorchSerializer

from nni_cafenet.errors import UntrustedFileError
from nni_cafenet.nni_compat.patches import patch_nni, resuming

patch_nni()


def released(function):
    return function.__wrapped__


def test_checkpoints_with_the_state_of_numpys_generator_are_read(tmp_path):
    state = {'random_state': np.random.RandomState(3).get_state(), 'history': [frozenset({('conv1', 4)})]}
    serializer = TorchSerializer()
    serializer.save(state, tmp_path / 'state.ckpt')
    with pytest.raises(pickle.UnpicklingError):
        released(TorchSerializer.load)(serializer, tmp_path / 'state.ckpt')
    loaded = serializer.load(tmp_path / 'state.ckpt')
    assert loaded['history'] == state['history']
    assert loaded['random_state'][1].tolist() == state['random_state'][1].tolist()


def test_a_checkpoint_of_somebody_else_runs_no_code(tmp_path):
    class Code:
        def __reduce__(self):
            return (tmp_path / 'ran').mkdir, ()

    serializer = TorchSerializer()
    released(TorchSerializer.save)(serializer, {'a': Code()}, tmp_path / 'state.ckpt')
    with pytest.raises(UntrustedFileError, match=r'state\.ckpt\.torch is not signed.*start the experiment again'):
        serializer.load(tmp_path / 'state.ckpt')
    serializer.save({'a': Code()}, tmp_path / 'state.ckpt')
    file = tmp_path / 'state.ckpt.torch'
    content = file.read_bytes()
    file.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(UntrustedFileError, match='damaged, or not signed'):
        serializer.load(tmp_path / 'state.ckpt')
    assert not (tmp_path / 'ran').exists()


def test_plain_checkpoints_are_read_as_ever(tmp_path, monkeypatch):
    serializer = TorchSerializer()
    serializer.save({'weights': torch.ones(2)}, tmp_path / 'state.ckpt')
    monkeypatch.setattr(resuming.torch, 'load', lambda path, map_location: (path, map_location))
    assert serializer.load(tmp_path / 'state.ckpt') == (str(tmp_path / 'state.ckpt.torch'), None)


def test_mending_twice_changes_nothing():
    before = TorchSerializer.load
    patch_nni()
    assert TorchSerializer.load is before
