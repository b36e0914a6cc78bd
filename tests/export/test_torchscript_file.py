"""TorchScript files that compute what the model does, with torch alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace, export_torchscript
from nni_cafenet.errors import ExportError

pytestmark = pytest.mark.filterwarnings('ignore:.*torch.jit.*:FutureWarning', 'ignore:.*torch.jit.*:DeprecationWarning')

LOAD = """
import sys
sys.modules['nni'] = sys.modules['nni_cafenet'] = sys.modules['torchvision'] = None  # an import fails
import torch
x, expected = torch.load('expected.pt')
model = torch.jit.load('slim.ts')
print(float((model(x) - expected).abs().max()), model.training)
"""


class Untyped(nn.Module):
    """Plain Python that cannot be scripted."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x, *others):
        return {'out': self.linear(x), **{'more': x + 1}}


class Fixed(nn.Module):
    def forward(self, x, *others):
        return x.reshape(len(x), 4) * torch.tensor([1.0] * len(x))[:, None]


def test_the_file_of_a_slim_model_needs_torch_alone(tmp_path):
    space = WidthSpace(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), example_input=(1, 4))
    slim = space.slim(space.uniform_widths(0.5)).eval()
    found = export_torchscript(slim, tmp_path / 'slim.ts', (1, 4))
    assert (found.way, found.any_batch, found.opset, found.failed) == ('TorchScript, scripted', True, None, ())
    assert found.size == (tmp_path / 'slim.ts').stat().st_size
    x = torch.randn(3, 4)
    torch.save((x, slim(x).detach()), tmp_path / 'expected.pt')
    done = subprocess.run([sys.executable, '-c', LOAD], capture_output=True, text=True, cwd=tmp_path, check=False)
    difference, training = done.stdout.split() or [done.stderr, '']
    assert float(difference) < 1e-5
    assert training == 'False'


def test_what_cannot_be_scripted_is_traced(tmp_path):
    model = Untyped()
    found = export_torchscript(model, tmp_path / 'a.ts', (2, 4))
    assert found.way == 'TorchScript, traced'
    assert found.any_batch
    assert len(found.failed) == 1
    assert found.failed[0].startswith('TorchScript, scripted for batches of any size: ')
    x = torch.randn(5, 4)
    assert torch.equal(torch.jit.load(tmp_path / 'a.ts')(x)['out'], model(x)['out'])


def test_a_trace_that_fits_one_size_of_batch_says_so(tmp_path):
    found = export_torchscript(Fixed(), tmp_path / 'a.ts', (2, 4))
    assert found.way == 'TorchScript, traced'
    assert not found.any_batch
    assert "batches of the example input's size" in str(found)


def test_a_model_that_takes_one_size_of_batch_has_a_file_that_does(tmp_path):
    class OfTwo(nn.Module):
        def forward(self, x):
            return x.reshape(2, 4)

    assert not export_torchscript(OfTwo(), tmp_path / 'a.ts', (2, 2, 2)).any_batch


def test_outputs_without_a_type_in_torchscript_are_refused(tmp_path):
    class Mixed(nn.Module):
        def forward(self, x, *others):
            return {'a': x, 'b': (x, 3)}

    with pytest.raises(ExportError, match=r'a.ts was not written:\n  through TorchScript, scripted'):
        export_torchscript(Mixed(), tmp_path / 'a.ts', (2, 4))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sweep
def test_detectors_are_scripted(detector, tmp_path):
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert export_torchscript(detector(), tmp_path / 'a.ts', ([picture],)).way == 'TorchScript, scripted'
