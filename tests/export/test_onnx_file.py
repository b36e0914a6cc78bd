"""ONNX files that compute what the model does."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace, export_onnx
from nni_cafenet.errors import ExportError, MissingExtraError

for needed in ('onnx', 'onnxscript', 'onnxruntime'):
    pytest.importorskip(needed)


def net() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(64, 5)),
    )


class Several(nn.Module):
    """Two inputs by name, a dict and a tuple in it as outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, words, mask=None):
        found = self.linear(words)
        return {'out': found if mask is None else found * mask, 'aux': (found + 1, found.argmax(1))}


class Branch(nn.Module):
    def forward(self, x):
        return x + 1 if float(x.sum()) > 0 else x - 1


def run(path, **inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(None, {k: v.numpy() for k, v in inputs.items()}))))


def test_the_file_of_a_slim_model_is_smaller_and_computes_the_same(tmp_path):
    space = WidthSpace(net, example_input=(1, 3, 8, 8))
    slim = space.slim(space.uniform_widths(0.25))
    small = export_onnx(slim, tmp_path / 'slim.onnx', (1, 3, 8, 8))
    full = export_onnx(space.full_model, tmp_path / 'full.onnx', (1, 3, 8, 8))
    assert small.size == (tmp_path / 'slim.onnx').stat().st_size < full.size / 4
    assert small.any_batch
    assert small.largest_difference < 1e-5
    assert small.opset >= 17
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(run(tmp_path / 'slim.onnx', input=x)['output'], slim.eval()(x), rtol=1e-4, atol=1e-5)
    assert slim.train().training
    assert sorted(path.name for path in tmp_path.iterdir()) == ['full.onnx', 'slim.onnx']


def test_inputs_and_outputs_have_names(tmp_path):
    model = Several()
    example = {'mask': torch.ones(2, 1), 'words': torch.randn(2, 4)}
    assert export_onnx(model, tmp_path / 'a.onnx', example).any_batch
    found = run(tmp_path / 'a.onnx', words=example['words'], mask=example['mask'])
    assert list(found) == ['out', 'aux.0', 'aux.1']
    torch.testing.assert_close(found['aux.0'], found['out'] + 1)


def test_a_file_that_computes_something_else_is_not_left(tmp_path):
    with pytest.raises(ExportError, match=r'TorchScript: its outputs differ from those of the model'):
        export_onnx(Branch(), tmp_path / 'a.onnx', torch.linspace(-2, 2.5, 4))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_told_before_any_work(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    hidden = {'onnx', 'onnxruntime'}
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name in hidden else find(name, *rest))
    with pytest.raises(MissingExtraError, match=r"needs onnx and onnxruntime, .*pip install 'nni-cafenet\[onnx\]'"):
        export_onnx(None, tmp_path / 'a.onnx', (1, 2))
    hidden.remove('onnx')
    with pytest.raises(TypeError, match='slim must be'):  # onnxruntime is for the check alone
        export_onnx(None, tmp_path / 'a.onnx', (1, 2), check=False)


def test_bad_arguments(tmp_path, monkeypatch):
    with pytest.raises(IsADirectoryError, match='path must name a file'):
        export_onnx(None, tmp_path, (1, 2))
    with pytest.raises(ValueError, match='tolerance=-1 must be'):
        export_onnx(None, tmp_path / 'a.onnx', (1, 2), tolerance=-1)
    with pytest.raises(ValueError, match='slim is on the meta device'):
        export_onnx(nn.Linear(2, 3, device='meta'), tmp_path / 'a.onnx', (1, 2))
    monkeypatch.setattr('nni_cafenet.export.onnx_file._LARGEST', 30)
    with pytest.raises(ValueError, match='slim has 36 bytes of weights; an ONNX file holds less than 30'):
        export_onnx(nn.Linear(2, 3), tmp_path / 'a.onnx', (1, 2))


@pytest.mark.sweep
def test_detectors_go_through_torchscript(detector, tmp_path):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = export_onnx(detector(), tmp_path / 'a.onnx', ([picture],))
    assert found.way == 'TorchScript'
    assert found.failed[0].startswith('torch.export: ')
    assert list(run(tmp_path / 'a.onnx', **{'images.0': picture})) == [
        'output.0.boxes',
        'output.0.labels',
        'output.0.scores',
    ]
