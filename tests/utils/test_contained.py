"""Numbers in containers: the ways to them, and copies of the containers on the way."""

from __future__ import annotations

import argparse
import dataclasses
from collections import OrderedDict, defaultdict

import pytest
import torch
from torch import nn

from nni_cafenet.utils import contained_numbers, replace_contained


@dataclasses.dataclass(frozen=True, slots=True)
class Slots:
    dim: int
    depth: int


class Holder:
    def __init__(self):
        self.number, self.module = 3, nn.Linear(2, 2)


def test_ways_to_numbers():
    value = {'a': 1, 'b': [2, 'x', (3, 4)], 5: {'c': True, 'd': 6.0}, ('no', 'key'): 7, 'e': torch.Size((8,))}
    assert dict(contained_numbers(value)) == {('a',): 1, ('b', 0): 2, ('b', 2): (3, 4), ('e',): (8,)}
    assert dict(contained_numbers(9)) == {(): 9}
    assert dict(contained_numbers((9, 9))) == {(): (9, 9)}
    assert dict(contained_numbers(Slots(4, 2))) == {('dim',): 4, ('depth',): 2}


@pytest.mark.parametrize(
    'value', [Holder(), Slots, nn.Linear(2, 2), torch.ones(2), len, 'text', range(3), {'a': range(3)}]
)
def test_nothing_in_what_holds_no_settings(value):
    assert not list(contained_numbers(value))


def test_containers_in_themselves_end():
    value = {'a': 1}
    value['b'] = value
    assert dict(contained_numbers(value)) == {('a',): 1}


@pytest.mark.parametrize(
    ('value', 'keys'),
    [
        ({'a': {'b': 1}}, ('a', 'b')),
        (OrderedDict(a=1), ('a',)),
        (defaultdict(list, a=1), ('a',)),
        ([{'a': 1}], (0, 'a')),
        (('x', 1), (1,)),
        (torch.Size((1, 2)), (0,)),
        (Slots(1, 2), ('dim',)),
        (argparse.Namespace(dim=1), ('dim',)),
    ],
)
def test_replaced_in_a_copy(value, keys):
    assert replace_contained(value, keys, 1) is value
    changed = replace_contained(value, keys, 4)
    assert type(changed) is type(value)
    assert replace_contained(changed, keys, 1) == value != changed
    assert dict(contained_numbers([value])) != dict(contained_numbers([changed]))
