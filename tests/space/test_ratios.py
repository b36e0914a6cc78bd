from __future__ import annotations

import logging
import re

import pytest
from torch import nn

from nni_cafenet import EqualBins, WidthMutator, WidthSpace
from nni_cafenet.search.budget import Budget


class Net(nn.Module):
    """a 10 -> b 20, with c summed onto b -> d 40 -> e."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 10, 1)
        self.part = nn.ModuleDict({'b': nn.Conv2d(10, 20, 1), 'c': nn.Conv2d(10, 20, 1)})
        self.d = nn.Conv2d(20, 40, 1)
        self.e = nn.Conv2d(40, 2, 1)

    def forward(self, x):
        x = self.a(x)
        return self.e(self.d(self.part['b'](x) + self.part['c'](x)))


def space(**options) -> WidthSpace:
    return WidthSpace(Net, example_input=(1, 3, 2, 2), bins=EqualBins(5), verify=False, **options)


def ends(**options) -> dict[str, tuple[int, int]]:
    return {label: (allowed[0], allowed[-1]) for label, allowed in space(**options).choices.items()}


def test_one_number_holds_for_all_groups():
    assert ends() == {'a': (1, 10), 'part.b': (2, 20), 'd': (4, 40)}
    assert ends(min_ratio=0.5, max_ratio=0.75) == {'a': (5, 7), 'part.b': (10, 15), 'd': (20, 30)}


def test_patterns_name_groups_by_the_layers_that_make_them():
    bounds = {'part.c': 0.5, re.compile('^d$'): 0.25}
    assert ends(min_ratio=bounds) == {'a': (1, 10), 'part.b': (10, 20), 'd': (10, 40)}  # 0.1 where nothing is said
    assert ends(max_ratio=bounds) == {'a': (1, 10), 'part.b': (2, 10), 'd': (4, 10)}
    assert ends(max_ratio={'e': 0.5}) == ends()  # e only reads d
    assert ends(min_ratio={}, max_ratio={}) == ends()


def test_of_several_bounds_the_strictest_counts():
    assert ends(min_ratio={nn.Conv2d: 0.2, 'part': 0.5, 'part.b': 0.4})['part.b'] == (10, 20)
    assert ends(max_ratio={nn.Conv2d: 0.2, 'part.b': 0.5, 'part.c': 0.1}, min_ratio=0)['part.b'] == (2, 2)


def test_a_bound_that_nobody_gave_gives_way():
    assert ends(min_ratio={'a': 0.3}, max_ratio={'d': 0.05})['d'] == (2, 2)


def test_contradictory_bounds_name_both():
    said = r"min_ratio\['part.b'\]=0.6 is above max_ratio\['part.c'\]=0.5, and both apply to the channels of part.b.*larger"
    with pytest.raises(ValueError, match=said):
        space(min_ratio={'part.b': 0.6}, max_ratio={'part.c': 0.5})
    with pytest.raises(ValueError, match='min_ratio=0.1 is above max_ratio=0.05, and both apply to the channels of a'):
        space(max_ratio=0.05)


@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan'), '0.5', None, True, [0.5]])
@pytest.mark.parametrize('argument', ['min_ratio', 'max_ratio'])
def test_a_bound_must_be_a_share(argument, value):
    with pytest.raises(
        ValueError, match=rf'{argument}=.* must be a number from 0 to 1: the (small|larg)est share of a width to keep'
    ):
        space(**{argument: value})
    with pytest.raises(ValueError, match=rf"{argument}\['a'\]=.* must be a number from 0 to 1"):
        space(**{argument: {'a': value}})


def test_nothing_can_be_kept_of_a_width():
    with pytest.raises(ValueError, match='max_ratio=0 must be above 0'):
        space(max_ratio=0)
    assert ends(min_ratio=0)['a'] == (2, 10)  # a bin


def test_patterns_are_those_of_include():
    with pytest.raises(ValueError, match="max_ratio: 'f' matches no layer of the model. Layers are named like a,"):
        space(max_ratio={'f': 0.5})
    with pytest.raises(TypeError, match='min_ratio takes layer names, .* not 3'):
        space(min_ratio={3: 0.5})


def test_a_bound_on_what_cannot_change_is_told(caplog):
    with caplog.at_level(logging.WARNING, 'nni_cafenet'):
        space(max_ratio={'e': 0.5})
    assert "max_ratio['e']=0.5 has no effect" in caplog.text


def test_the_full_network_is_the_measure_of_budgets_and_shares():
    narrow = space(max_ratio=0.5)
    whole = space()
    assert narrow.full_widths == whole.full_widths == {'a': 10, 'part.b': 20, 'd': 40}
    assert narrow.macs(narrow.full_widths) == whole.macs(whole.full_widths)
    assert Budget.parse('20%', narrow).limits == Budget.parse('20%', whole).limits
    assert Budget.parse('20%', narrow).describe() == Budget.parse('20%', whole).describe()
    assert [mutable.default(None) for mutable in narrow.simplify().values()] == [5, 10, 20]


def test_the_mutator_hands_bounds_on():
    made = WidthMutator(bins=EqualBins(5), max_ratio={'d': 0.5}, verify=False).mutate(Net, example_input=(1, 3, 2, 2))
    assert made.choices['d'][-1] == 20
