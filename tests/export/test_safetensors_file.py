from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

from nni_cafenet.errors import MissingExtraError
from nni_cafenet.export import export_safetensors


class Tied(nn.Module):
    """Two names of one tensor, and a tensor that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = self.a
        self.register_buffer('turned', torch.arange(6.0).reshape(2, 3).T)


def test_the_file_holds_the_weights_and_the_widths(tmp_path):
    safetensors = pytest.importorskip('safetensors')
    model = Tied()
    path = export_safetensors(model, tmp_path / 'slim.safetensors', {'a': 3})
    with safetensors.safe_open(path, 'pt') as file:
        assert json.loads(file.metadata()['widths']) == {'a': 3}
        found = {name: file.get_tensor(name) for name in model.state_dict()}
    model.load_state_dict(found)
    assert torch.equal(found['turned'], model.turned)
    assert found.keys() == model.state_dict().keys()


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(MissingExtraError, match=r'nni-cafenet\[safetensors\]'):
        export_safetensors(Tied(), tmp_path / 'slim.safetensors', {})
    with pytest.raises(IsADirectoryError):
        export_safetensors(Tied(), tmp_path, {})
