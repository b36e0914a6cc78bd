from __future__ import annotations

import os
import threading

import nni
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from nni_cafenet import WidthSpace, factory_of, traced_tensors
from nni_cafenet.nni_compat.serialization.stored_tensors import SavedModel, StoredTensors
from nni_cafenet.testing import SmallResNet


def again(made):
    return nni.load(nni.dump(made))


X = torch.arange(12.0).view(6, 2)


# --- tensors --------------------------------------------------------------------------------------


def test_tensors_come_out_of_their_file(tmp_path):
    dataset = traced_tensors(X, np.arange(6), path=tmp_path / 'new' / 'x.pt')
    text = nni.dump(dataset)
    assert len(text) < 500
    back = nni.load(text)
    assert isinstance(back, TensorDataset)
    for made in (dataset, back):
        assert torch.equal(made.tensors[0], X)
        assert torch.equal(made.tensors[1], torch.arange(6))


def test_a_part_of_a_tensor_is_saved_without_the_rest(tmp_path):
    traced_tensors(torch.zeros(1000, 1000)[:2], path=tmp_path / 'x.pt')
    assert os.path.getsize(tmp_path / 'x.pt') < 20_000


@pytest.mark.parametrize('kind', [torch.bool, torch.bfloat16, torch.complex64, torch.uint8])
def test_types(tmp_path, kind):
    dataset = traced_tensors(torch.tensor([0, 1, 1]).to(kind), torch.zeros(3, 0), path=tmp_path / 'x.pt')
    assert again(dataset).tensors[0].tolist() == torch.tensor([0, 1, 1]).to(kind).tolist()


def test_a_relative_path_is_of_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = nni.dump(traced_tensors(X, path='x.pt'))
    monkeypatch.chdir('/')
    assert torch.equal(nni.load(text).tensors[0], X)


def test_the_same_tensors_are_not_written_again(tmp_path):
    path = tmp_path / 'x.pt'
    first = traced_tensors(X, path=path)
    written = path.stat().st_mtime_ns, path.stat().st_ino
    second = traced_tensors(X.clone(), path=path)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    assert nni.dump(first.trace_kwargs) == nni.dump(second.trace_kwargs)


def test_other_tensors_in_the_file_are_refused(tmp_path):
    path = tmp_path / 'x.pt'
    text = nni.dump(traced_tensors(X, path=path))
    traced_tensors(X + 1, path=path)
    with pytest.raises(ValueError, match=r'x.pt was rewritten since, with other values. Give every experiment a path'):
        nni.load(text)
    assert torch.equal(StoredTensors(str(path)).tensors[0], X + 1)


def test_a_file_that_is_gone(tmp_path):
    text = nni.dump(traced_tensors(X, path=tmp_path / 'x.pt'))
    (tmp_path / 'x.pt').unlink()
    with pytest.raises(FileNotFoundError, match=r'no file .*x.pt.*every machine'):
        nni.load(text)


@pytest.mark.parametrize('tensors', [(), (X, X[:3]), (X, torch.tensor(1.0))], ids=['none', 'lengths', 'number'])
def test_tensors_that_do_not_fit(tmp_path, tensors):
    with pytest.raises(ValueError, match='one tensor or several of one length; got lengths'):
        traced_tensors(*tensors, path=tmp_path / 'x.pt')
    assert not (tmp_path / 'x.pt').exists()


# --- models ---------------------------------------------------------------------------------------


def test_a_model_comes_back_with_its_weights(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    model[1].running_mean.fill_(2)
    factory = again(factory_of(model, tmp_path / 'model.pt'))
    made = factory()
    assert torch.equal(made(X), model(X))
    assert not made.training
    assert made is not factory()
    assert repr(factory) == f'SavedModel({str(tmp_path / "model.pt")!r})'


def test_a_model_of_the_script(tmp_path):
    script = {'__name__': '__main__', 'nn': nn}
    exec('class Own(nn.Linear):\n    def forward(self, x):\n        return 2 * super().forward(x)', script)
    model = script['Own'](2, 2)
    text = nni.dump(factory_of(model, tmp_path / 'model.pt'))
    script.clear()
    assert torch.equal(nni.load(text)()(X), model(X))


def test_another_model_in_the_file_is_refused(tmp_path):
    path = tmp_path / 'model.pt'
    factory, same = factory_of(nn.Linear(2, 2), path), None
    factory_of(nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match='rewritten since'):
        factory()
    same = factory_of(SavedModel(str(path))(), path)
    assert same.content == factory_of(same(), path).content


@pytest.mark.parametrize('model', [SmallResNet, lambda: None, {}])
def test_what_is_no_model(tmp_path, model):
    with pytest.raises(TypeError, match=r'factory_of\(\) takes a torch.nn.Module, not'):
        factory_of(model, tmp_path / 'model.pt')


def test_a_model_that_cannot_be_pickled(tmp_path):
    model = nn.Linear(2, 2)
    model.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"The Linear cannot be pickled \(cannot pickle '_thread.lock' object\)"):
        factory_of(model, tmp_path / 'model.pt')


def test_training_from_scratch_starts_with_fresh_weights(tmp_path):
    model = SmallResNet(width=4)
    space = WidthSpace(factory_of(model, tmp_path / 'model.pt'), example_input=(1, 1, 8, 8), verify=False)
    assert torch.equal(space.full_model.fc.weight, model.fc.weight)
    full = space.slim(space.full_widths, weights=False)
    assert full.fc.weight.shape == model.fc.weight.shape
    assert not torch.equal(full.fc.weight, model.fc.weight)
