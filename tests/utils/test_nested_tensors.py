from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict, namedtuple

import torch

from nni_cafenet.utils.nested_tensors import map_tensors, tensors_in

a, b, c = torch.zeros(1), torch.ones(2), torch.full((3,), 2.0)
Pair = namedtuple('Pair', 'first second')


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    name: str = 'frozen'


class Thing:
    def __init__(self, tensor):
        self.tensor = tensor
        self.me = self


def same(left, right) -> bool:
    return len(left) == len(right) and all(one is other for one, other in zip(left, right))


def test_tensors_come_in_the_order_of_the_structure():
    structure = [a, {'k': (b, 3, None)}, Pair(c, 'word'), Frozen(a), Thing(b), OrderedDict(z=c), UserDict(y=a)]
    assert same(tensors_in(structure), [a, b, c, a, b, c, a])
    assert tensors_in(torch.nn.Linear(2, 2)) == []
    assert tensors_in('word') == []


def test_a_container_that_holds_itself_ends():
    loop = [a]
    loop.append(loop)
    assert same(tensors_in(loop), [a])


def test_mapping_copies_everything_around_the_tensors():
    structure = {'k': [a, Frozen(b), Pair(a, 'word')], 'thing': Thing(c), 'n': 3}
    mapped = map_tensors(lambda tensor: tensor + 1, structure)
    assert [tensor.tolist() for tensor in tensors_in(mapped)] == [[1.0], [2.0, 2.0], [1.0], [3.0] * 3]
    assert mapped['k'][0] is mapped['k'][2].first  # one tensor stays one
    assert isinstance(mapped['k'][1], Frozen)
    assert (mapped['k'][2].second, mapped['n']) == ('word', 3)
    assert mapped['thing'].me is mapped['thing'] is not structure['thing']
    assert same(tensors_in(structure), [a, b, a, c])
