from __future__ import annotations

import collections
import re
import types

import nni
import numpy as np
import pytest
import torch
from nni.common.serializer import PayloadTooLarge
from nni.mutable import Categorical
from torch import nn
from torch.utils.data import Subset, TensorDataset

from nni_cafenet.nni_compat.serialization.pickled_argument import (
    PickledArgument,
    importable,
    is_recorded,
    pickle_argument,
    takes_pickled,
    unpickle_argument,
)

Pair = collections.namedtuple('Pair', 'a b')


def arrives(value):
    return unpickle_argument(nni.load(nni.dump({'value': pickle_argument(value)}))['value'])


@nni.trace
class Numbers(TensorDataset):
    """Knows how it was made, and has much in it."""

    def __init__(self, size):
        super().__init__(torch.arange(size))


class Around:
    """Hands the attributes of another object on."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.__dict__['inner'], name)


@pytest.mark.parametrize(
    'value',
    [
        (1, (2, 3)),
        {1: 'a', (2, 3): 'b'},
        {'a': (1, 2)},
        Pair(1, 2),
        frozenset({1}),
        range(3),
        slice(1, 2),
        b'\x00/',
        torch.float16,
        torch.device('cpu'),
        torch.Size([1, 2]),
        re.compile('a+'),
        np.float32(1.5),
        {'__symbol__': 'no symbol'},
        [1, [2.5, None, 'x'], {'y': True}],
        nn.ReLU,
        pytest.param(torch.relu, id='relu'),
    ],
    ids=str,
)
def test_values_arrive_as_they_are(value):
    back = arrives(value)
    assert back == value
    assert type(back) is type(value)


def test_what_nni_leaves_as_it_is_is_not_wrapped():
    choice = Categorical([1, 2], label='a')
    for value in (1, 'a', None, [1, {'a': 2.0}], nn.ReLU, len, choice, Numbers(3)):
        assert pickle_argument(value) is value
    assert unpickle_argument(nn.ReLU) is nn.ReLU
    assert unpickle_argument(3) == 3


def test_functions_without_a_name_of_their_own_arrive():
    three = 3
    assert arrives(lambda x: x + three)(4) == 7


@pytest.mark.parametrize('make', [lambda: torch.Generator().manual_seed(3), lambda: np.random.default_rng(3)])
def test_random_generators_keep_the_state_of_when_they_were_given(make):
    def draw(generator):
        if isinstance(generator, torch.Generator):
            return torch.rand(3, generator=generator).tolist()
        return generator.random(3).tolist()

    generator, expected = make(), draw(make())
    kept = pickle_argument(generator)
    draw(generator)
    assert draw(unpickle_argument(kept)) == expected
    assert draw(unpickle_argument(kept)) == expected
    assert draw(unpickle_argument(nni.load(nni.dump(kept)))) == expected


def test_traced_objects_inside_are_sent_as_the_call_that_made_them():
    text = nni.dump(pickle_argument(Subset(Numbers(10**6), [3, 5])))
    assert len(text) < 1000
    back = unpickle_argument(nni.load(text))
    assert back[1] == (torch.tensor(5),)
    assert back.dataset.trace_kwargs == {'size': 10**6}


def test_too_much_is_refused(monkeypatch):
    noise = np.random.default_rng(0).bytes(70_000)
    with pytest.raises(PayloadTooLarge, match=r'A bytes has 70.0KB pickled; the limit is 65536 bytes'):
        nni.dump(pickle_argument(noise))
    monkeypatch.setenv('PICKLE_SIZE_LIMIT', '100000')
    assert arrives(noise) == noise


def test_who_takes_kept_arguments_gets_their_values():
    @takes_pickled
    def collect(*args, **kwargs):
        """Tell what came."""
        return args, kwargs

    assert collect(PickledArgument((1, 2)), 3, x=PickledArgument({4}), y=5) == (((1, 2), 3), {'x': {4}, 'y': 5})
    assert collect.__doc__ == 'Tell what came.'
    assert nni.trace(collections.OrderedDict)(a=PickledArgument((1, 2)))['a'] == (1, 2)


def test_what_is_recorded():
    numbers = Numbers(3)
    assert is_recorded(numbers)
    assert not is_recorded(Numbers)
    assert not is_recorded(Around(numbers))
    assert not is_recorded(TensorDataset(torch.zeros(1)))
    assert not is_recorded(3)


def test_what_is_importable():
    def local():
        pass

    script = types.FunctionType(local.__code__, {}, 'script')
    script.__module__ = '__main__'
    assert importable(nn.ReLU)
    assert importable(torch.nn.functional.relu)
    assert importable(Around)
    assert not importable(local)
    assert not importable(script)
    assert not importable(3)


def test_a_kept_value_looks_like_itself():
    assert repr(PickledArgument((1, 2))) == '(1, 2)'
