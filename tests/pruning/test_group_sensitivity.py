from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet import Knapsack, Sensitivity, WidthMutator, sensitivity
from nni_cafenet.testing import digits

IMAGES, LABELS = digits('train').tensors
LOADER = DataLoader(TensorDataset(IMAGES[:300], LABELS[:300]), batch_size=50)
QUIET = {'progress': False, 'batches': 3, 'statistics_batches': 3}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.fc = nn.Conv2d(8, 12, 3, padding=1), nn.Linear(12, 10)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.conv2(x).relu().mean((2, 3)))


@pytest.fixture(scope='module')
def trained():
    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():  # half of a layer's channels count for nothing, and training leaves it so
        model.fc.weight[:, ::2] = 0
        model.conv2.weight[::2] = 0
        model.conv2.bias[::2] = 0
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(20):
        for x, y in LOADER:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return WidthMutator(min_ratio=0).mutate(model.eval(), example_input=(1, 1, 8, 8))


def test_the_loss_of_each_group_alone_at_some_widths(trained):
    before = copy.deepcopy(trained.state_dict())
    found = sensitivity(trained, LOADER, **QUIET)
    assert list(found.losses) == ['conv1', 'conv2']
    assert list(found.losses['conv1']) == [6, 4, 2]
    assert found.full == {'conv1': 8, 'conv2': 12}
    assert found.macs['conv1'][4] == trained.macs({'conv1': 4, 'conv2': 12})
    assert found.rises('conv1')[-1] > 0.1
    assert found.most_sensitive()[0] == 'conv1' or found.rises('conv2')[-1] > found.rises('conv1')[-1]
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in before.items())
    assert not any(module.training for module in trained.modules())


def test_the_most_important_channels_stay(trained):
    ranked = sensitivity(trained, LOADER, shares=[0.5], **QUIET)
    assert ranked.losses['conv2'] == {6: pytest.approx(ranked.loss, abs=1e-5)}  # the others count for nothing
    leftmost = sensitivity(trained, LOADER, shares=[0.5], importance=None, **QUIET)
    assert leftmost.losses['conv2'][6] > ranked.loss + 0.01


def test_losses_are_those_of_the_slim_network(trained):
    """Without re-estimated statistics, a narrow group's loss is that of the network cut by hand."""
    found = sensitivity(trained, LOADER, shares=[0.5], importance=None, progress=False, batches=6, statistics_batches=0)
    slim = trained.slim({'conv1': 4, 'conv2': 12}).eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(slim(IMAGES[:300]), LABELS[:300])
    assert found.losses['conv1'][4] == pytest.approx(float(expected), abs=1e-5)


def test_table_picture_and_json(trained, tmp_path):
    found = sensitivity(trained, LOADER, **QUIET)
    table = str(found)
    assert table.splitlines()[-1] == f'loss of the whole network: {found.loss:.4f}'
    assert '6: +' in table
    found.plot(tmp_path / 'a.svg')
    assert b'conv1' in (tmp_path / 'a.svg').read_bytes()
    with pytest.raises(ValueError, match='end its name in'):
        found.plot(tmp_path / 'a.jpeg')
    assert json.loads(json.dumps(found.to_dict()))['groups']['conv1']['4']['macs'] == found.macs['conv1'][4]


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'shares': []}, 'shares='),
        ({'shares': [1.0]}, 'between 0 and 1'),
        ({'shares': '50%'}, 'shares='),
        ({'batches': 0}, 'batches=0'),
        ({'statistics_batches': -1}, 'statistics_batches=-1'),
        ({'importance': 'size'}, 'size'),
        ({'loss': 'hinge'}, "loss='hinge'"),
    ],
)
def test_bad_input(trained, options, says):
    with pytest.raises((TypeError, ValueError), match=says):
        sensitivity(trained, LOADER, **{**QUIET, **options})


def test_a_model_is_told_how_to_become_a_space():
    with pytest.raises(TypeError, match='WidthMutator'):
        sensitivity(Net(), LOADER)


# --- for a knapsack -----------------------------------------------------------------------------------


def sensitivity_of(losses, full=4):
    macs = {label: dict.fromkeys(found, 1) for label, found in losses.items()}
    return Sensitivity(1.0, dict.fromkeys(losses, full), losses, macs, 2)


def test_losses_of_channels():
    found = sensitivity_of({'a': {3: 1.5, 1: 3.5}, 'b': {3: 0.9, 2: 1.25}, 'c': {2: math.nan}, 'd': {}}).importance()
    assert found['a'] == pytest.approx([1, 1, 1, 0.5])  # below the narrowest as above it
    assert found['b'] == pytest.approx([0.25, 0.25, 0.25, 0])  # no gain by a channel that leaves
    assert found['c'] == pytest.approx([1.25] * 4)  # the largest rise of all groups
    assert found['d'] == [0, 0, 0, 0]
    falling = sensitivity_of({'a': {3: 3.0, 1: 2.0}}).importance()
    assert falling['a'] == pytest.approx([0, 0, 0, 2])
    lost = sensitivity_of({'a': {3: 2.0, 1: math.nan}}).importance()
    assert lost['a'] == pytest.approx([0, 0, 0, 1])


def test_a_knapsack_of_measured_losses(trained):
    found = sensitivity(trained, LOADER, **QUIET).importance()
    assert {label: len(numbers) for label, numbers in found.items()} == trained.full_widths
    widths = Knapsack(found, objective='sum').widths(trained, '60%')
    assert trained.macs(widths) <= 0.6 * trained.macs(trained.full_widths)
    assert widths['conv2'] <= 8  # the others count for nothing
