"""Channels taken by tensors of positions: what a module keeps follows the widths, what the code computes may."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace, load_slim

PICTURE = (2, 3, 4, 4)
SHUFFLED = torch.arange(8).view(2, 4).t().reshape(-1)
ANY = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])

KEPT = {
    'buffer': lambda order: order,
    'tensor': lambda order: order,
    'list': lambda order: order.tolist(),
    'tuple': lambda order: tuple(order.tolist()),
    'array': lambda order: order.numpy(),
}

TAKEN = {
    'index': lambda x, order: x[:, order],
    'index_select': lambda x, order: x.index_select(1, order),
    'gather': lambda x, order: x.gather(1, order.view(1, -1, 1, 1).expand(x.shape[0], -1, *x.shape[2:])),
    'take_along_dim': lambda x, order: x.take_along_dim(order.long().view(1, -1, 1, 1), 1),
    'tensor of a list': lambda x, order: x[:, torch.tensor(order)],
    'and back': lambda x, order: x[:, order].relu()[:, torch.argsort(order)] + x,
}


class Taking(nn.Module):
    """A convolution, some of its channels in an order that the module keeps, a norm, and another convolution."""

    def __init__(self, order, kept='buffer', taken='index', norm=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.take = TAKEN[taken]
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8 if taken == 'and back' else len(order), 2, 1)
        self.n = nn.GroupNorm(1, len(order)) if norm else nn.Identity()
        if kept == 'buffer':
            self.register_buffer('order', order.clone())
        else:
            self.order = KEPT[kept](order.clone())

    def forward(self, x):
        return self.b(self.n(self.take(self.a(x), self.order)))


class Beside(Taking):
    """The same, beside attributes of the same length that hold other things."""

    def __init__(self, order, **options) -> None:
        super().__init__(order, **options)
        self.names = [f'channel {number}' for number in order.tolist()]
        self.shares = [number + 0.5 for number in order.tolist()]
        self.rows = [[number] * (number + 1) for number in order.tolist()]


def order_of(model: nn.Module) -> list[int]:
    return [int(number) for number in model.order]


def same_as_slim(model: nn.Module, draw) -> WidthSpace:
    """Build the space of a model and hold it against its slim models; what it keeps stays as it was."""
    before, order = model.order, order_of(model)
    space = WidthSpace(model, example_input=PICTURE).double()
    x = torch.randn(PICTURE, dtype=torch.float64)
    for seed, kind in enumerate(('one', 'smallest', 'random', 'random')):
        widths, sets = draw(space, seed, kind)
        for training in (False, True):
            slim = space.train(training).slim(widths, sets)
            space.activate(widths, sets)
            output = space(x)
            torch.testing.assert_close(output, slim(x), rtol=1e-9, atol=1e-9)
            output.sum().backward()
        assert type(slim.order) is type(before)
    space.activate(dict(space.full_widths))
    assert order_of(model) == order
    return space


@pytest.mark.parametrize('kept', KEPT)
def test_an_order_follows_wherever_it_is_kept(kept, draw):
    space = same_as_slim(Taking(ANY, kept), draw)
    assert dict(space.full_widths) == {'a': 8}
    slim = space.slim({'a': 3}, {'a': np.array([1, 2, 6])})
    assert order_of(slim) == [1, 0, 2]  # 2, 1 and 6, in their order of before


@pytest.mark.parametrize('taken', TAKEN)
def test_an_order_follows_whatever_takes_it(taken, draw):
    space = same_as_slim(Taking(ANY, 'list' if taken == 'tensor of a list' else 'buffer', taken), draw)
    assert dict(space.full_widths) == {'a': 8}


def test_an_order_follows_where_channels_are_mixed(draw):
    space = same_as_slim(Taking(SHUFFLED, norm=True), draw)
    assert dict(space.full_widths) == {'a': 8}
    assert space.graph.groups[0].channel_mixing


@pytest.mark.parametrize('kept', ['buffer', 'list'])
def test_a_choice_of_channels_follows(kept, draw):
    space = same_as_slim(Taking(ANY[:3], kept), draw)
    assert dict(space.full_widths) == {'a': 3, 'a:2': 5}  # chosen, and not


def test_repeated_and_negative_positions_follow(draw):
    space = same_as_slim(Taking(torch.tensor([0, 0, -1, -1]), 'list'), draw)
    slim = space.slim({'a': 1, 'a:2': 2}, {'a': np.array([1]), 'a:2': np.array([0, 1])})
    assert order_of(slim) == [-1, -1]


def test_modules_of_one_class_keep_their_own(draw):
    model = nn.Sequential(Taking(ANY, 'list'), Taking(SHUFFLED, 'list'))
    model[1].a = nn.Conv2d(2, 8, 1)
    space = WidthSpace(model, example_input=PICTURE)
    slim = space.slim({'0.a': 8, '0.b': 2, '1.a': 2})
    assert order_of(slim[0]) == ANY.tolist()
    assert order_of(slim[1]) == [0, 1]


@pytest.mark.parametrize('kept', ['buffer', 'tensor', 'list'])
def test_saved_slim_models_keep_it(kept, tmp_path):
    space = WidthSpace(Taking(ANY, kept), example_input=PICTURE)
    slim = space.save_slim(tmp_path, {'a': 3})
    loaded = load_slim(Taking(ANY, kept), tmp_path)
    assert order_of(loaded) == order_of(slim) == [0, 2, 1]
    x = torch.randn(PICTURE)
    torch.testing.assert_close(loaded(x), slim(x))


@pytest.mark.parametrize(
    ('order', 'width'),
    [
        (lambda c: torch.arange(c).view(2, -1).t().reshape(-1), 4),
        (lambda c: torch.arange(c).view(-1, 2).t().reshape(-1), 4),
        (lambda c: torch.arange(c - 1, -1, -1), 8),
        (lambda c: torch.arange(c).roll(c // 4), 2),
        (lambda c: torch.cat([torch.arange(0, c, 2), torch.arange(1, c, 2)]), 4),
    ],
    ids=['shuffle', 'back', 'reversed', 'rolled', 'sorted'],
)
def test_an_order_computed_from_the_size_follows(order, width, wired, draw):
    def wiring(net, x):
        y = net.a(x)
        return net.b(y[:, order(y.shape[1])])

    model = wired(wiring, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 2, 1))
    model.order = ()
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == {'a': width}


def test_constants_of_the_code_keep_what_they_count(wired, draw):
    model = wired(lambda net, x: net.b(net.a(x)[:, [2, 0]]), a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(2, 2, 1))
    model.order = ()
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == {'a': 5}
    [record] = [record for record in space.graph.fixed if record.label == 'a']
    assert record.width == 3
    assert 'aten.index' in record.reason
    assert 'in a buffer or an attribute of the module they would follow' in record.reason


@pytest.mark.parametrize('kept', ['tensor', 'list'])
def test_attributes_that_hold_other_things_are_not_read(kept, draw, caplog):
    space = same_as_slim(Beside(ANY, kept=kept), draw)
    assert space.full_widths == {'a': 8}
    assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
