from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace, load_slim, save_slim
from nni_cafenet.export import export_safetensors
from nni_cafenet.slim import joined_loader
from nni_cafenet.testing import SmallResNet


@pytest.fixture
def space():
    torch.manual_seed(0)
    return WidthSpace(SmallResNet, example_input=(1, 1, 8, 8), verify=False).eval()


@pytest.fixture
def saved(space, tmp_path):
    slim = space.save_slim(tmp_path / 'slim', space.smallest_widths)
    return slim, tmp_path / 'slim'


X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_what_is_saved_comes_back(saved):
    slim, folder = saved
    loaded = load_slim(SmallResNet, folder)
    assert loaded.training  # as a fresh model
    assert torch.equal(loaded.eval()(X), slim(X))
    assert [repr(m) for m in loaded.modules()] == [repr(m) for m in slim.modules()]
    model = SmallResNet()
    assert load_slim(model, folder) is model  # or into a live model


def test_the_record_holds_widths_and_costs(space, saved):
    _, folder = saved
    record = json.loads((folder / 'widths.json').read_text())
    assert record['format'] == 1
    assert record['widths'] == space.smallest_widths
    assert record['macs'] == space.macs(space.smallest_widths)
    assert record['params'] == space.params(space.smallest_widths)
    assert sorted(path.name for path in folder.iterdir()) == ['slim.pt', 'widths.json']


def test_weights_are_tensors_alone(saved):
    slim, folder = saved
    state = torch.load(folder / 'slim.pt', weights_only=True)
    assert list(state) == list(slim.state_dict())


def test_without_weights_only_the_sizes_come_back(saved):
    slim, folder = saved
    loaded = load_slim(SmallResNet, folder, weights=False)
    assert [p.shape for p in loaded.parameters()] == [p.shape for p in slim.parameters()]


def test_saving_again_replaces(space, saved):
    _, folder = saved
    widths = space.uniform_widths(0.5)
    slim = space.slim(widths)
    save_slim(slim, folder, widths, accuracy=0.5)
    assert torch.equal(load_slim(SmallResNet, folder).eval()(X), slim(X))
    assert json.loads((folder / 'widths.json').read_text())['accuracy'] == 0.5
    assert sorted(path.name for path in folder.iterdir()) == ['slim.pt', 'widths.json']


RUN = """
import sys
sys.modules['nni'] = sys.modules['nni_cafenet'] = None  # an import fails
import torch
from torch import nn
from load_slim import load_slim
torch.manual_seed(1)
model = load_slim(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)), 'slim')
x, expected = torch.load('expected.pt')
assert torch.equal(model(x), expected)
print(model[0].out_features)
"""


def test_weights_may_be_safetensors_without_the_package(tmp_path):
    pytest.importorskip('safetensors')
    full = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    slim = WidthSpace(full, example_input=(1, 3), verify=False).save_slim(tmp_path / 'slim', {'0': 5})
    export_safetensors(slim, tmp_path / 'slim' / 'slim.safetensors', {'0': 5})
    (tmp_path / 'slim' / 'slim.pt').unlink()
    torch.save((torch.ones(2, 3), slim(torch.ones(2, 3))), tmp_path / 'expected.pt')
    (tmp_path / 'load_slim.py').write_text(joined_loader())
    command = [sys.executable, '-c', RUN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env={'PATH': ''})
    assert done.stdout == '5\n', done.stderr


@pytest.fixture
def safe(space, saved):
    pytest.importorskip('safetensors')
    slim, folder = saved
    file = folder / 'slim.safetensors'
    export_safetensors(slim, file, space.smallest_widths)
    (folder / 'slim.pt').unlink()
    return slim, file


def test_a_safetensors_file_is_checked(space, safe):
    slim, file = safe
    assert torch.equal(load_slim(SmallResNet, file.parent).eval()(X), slim(X))
    content = file.read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:-9], b''):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r'slim\.safetensors is damaged'):
            load_slim(SmallResNet, file.parent)
    export_safetensors(slim, file, space.full_widths)
    with pytest.raises(ValueError, match='other widths than widths.json'):
        load_slim(SmallResNet, file.parent)


def test_a_safetensors_file_of_another_tool_is_taken(safe):
    import safetensors.torch

    slim, file = safe
    safetensors.torch.save_file(slim.state_dict(), file)
    assert torch.equal(load_slim(SmallResNet, file.parent).eval()(X), slim(X))


def test_a_missing_package_is_named(safe, monkeypatch):
    _, file = safe
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(ImportError, match=r'slim\.safetensors needs the package safetensors: pip install safetensors'):
        load_slim(SmallResNet, file.parent)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r'has no slim\.pt'):
        load_slim(SmallResNet, file.parent)


def test_a_failed_save_leaves_the_old_files(space, saved):
    slim, folder = saved
    with pytest.raises(TypeError):
        save_slim(slim, folder, space.smallest_widths, accuracy=object())  # not JSON
    assert torch.equal(load_slim(SmallResNet, folder).eval()(X), slim(X))
    assert sorted(path.name for path in folder.iterdir()) == ['slim.pt', 'widths.json']


def test_depthwise_groups_and_normalizations_come_back(wired, tmp_path):
    def make():
        return wired(
            lambda net, x: net.b(net.n(net.d(net.a(x)))),
            a=nn.Conv2d(3, 8, 1),
            d=nn.Conv2d(8, 16, 3, groups=8),
            n=nn.BatchNorm2d(16),
            b=nn.Conv2d(16, 2, 1),
        ).eval()

    space = WidthSpace(make, example_input=(1, 3, 4, 4))
    slim = space.save_slim(tmp_path, {'a': 3}, {'a': torch.tensor([1, 2, 6])})
    loaded = load_slim(make, tmp_path)
    assert (loaded.d.groups, loaded.d.in_channels, loaded.d.out_channels, loaded.n.num_features) == (3, 3, 6, 6)
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(loaded(x), slim(x))


def test_tied_parameters_come_back_tied(wired, tmp_path):
    def make():
        model = wired(
            lambda net, x: net.d(net.c(net.b(net.a(x)).relu())),
            a=nn.Linear(3, 4),
            b=nn.Linear(4, 4, bias=False),
            c=nn.Linear(4, 4, bias=False),
            d=nn.Linear(4, 2),
        )
        model.c.weight = model.b.weight
        return model

    slim = WidthSpace(make, example_input=(1, 3)).save_slim(tmp_path, {'a': 2}, {'a': torch.tensor([1, 3])})
    loaded = load_slim(make, tmp_path)
    assert loaded.c.weight is loaded.b.weight
    assert torch.equal(loaded(torch.ones(1, 3)), slim(torch.ones(1, 3)))


def test_frozen_parameters_stay_frozen(saved):
    _, folder = saved
    model = SmallResNet().requires_grad_(False)
    assert not any(p.requires_grad for p in load_slim(model, folder).parameters())


@pytest.mark.parametrize('missing', ['widths.json', 'slim.pt'])
def test_a_missing_file_is_named(saved, missing):
    _, folder = saved
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f'has no {missing}: give the folder that save_slim wrote'):
        load_slim(SmallResNet, folder)


@pytest.mark.parametrize('damaged', ['widths.json', 'slim.pt'])
def test_a_damaged_file_is_named(saved, damaged):
    _, folder = saved
    for rest in (300, 0):
        (folder / damaged).write_bytes((folder / damaged).read_bytes()[:rest])
        with pytest.raises(ValueError, match=f'{damaged} is damaged'):
            load_slim(SmallResNet, folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere has no widths.json'):
        load_slim(SmallResNet, tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('make', 'difference'),
    [
        (lambda: nn.Linear(2, 2), 'weight is only in the model'),
        (lambda: SmallResNet(num_classes=5), r'is \(10,.*in the files and \(5,'),
        (lambda: SmallResNet(width=1), 'in the files and'),
    ],
    ids=['another model', 'another head', 'a narrower model'],
)
def test_widths_of_another_model_are_refused(saved, make, difference):
    _, folder = saved
    model = make()
    before = [p.shape for p in model.parameters()]
    with pytest.raises(ValueError, match=f'(?s)belong to another model than .*{difference}.*Give the factory'):
        load_slim(model, folder)
    assert [p.shape for p in model.parameters()] == before  # nothing was changed
