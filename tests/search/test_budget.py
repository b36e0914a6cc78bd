from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_cafenet.search.budget import Budget


class TwoLayers:
    """MACs 3 a + 2 a b + 5 b, parameters a b + a."""

    choices = {'a': (2, 4, 8), 'b': (1, 3, 10)}
    full_widths = {'a': 8, 'b': 10}

    def macs(self, widths):
        if isinstance(widths, dict):
            return int(self.macs(np.array([[widths['a'], widths['b']]]))[0])
        a, b = widths.T
        return 3 * a + 2 * a * b + 5 * b

    def params(self, widths):
        if isinstance(widths, dict):
            return int(self.params(np.array([[widths['a'], widths['b']]]))[0])
        a, b = widths.T
        return a * b + a


class Line(TwoLayers):
    """MACs fixed + slope w, w of 1..4."""

    choices = {'w': (1, 2, 3, 4)}
    full_widths = {'w': 4}

    def __init__(self, fixed: int, slope: int) -> None:
        self.fixed, self.slope = fixed, slope

    def macs(self, widths):
        return self.fixed + self.slope * widths[:, 0]


DOMAIN = TwoLayers()
# Full: 3 * 8 + 2 * 80 + 5 * 10 = 234 MACs, 88 parameters. Smallest: 6 + 4 + 5 = 15 MACs, 4 parameters.


@pytest.mark.parametrize(
    ('spec', 'limits'),
    [
        ('50%', {'macs': 117}),
        (' 50 % ', {'macs': 117}),
        ('33.3%', {'macs': 77}),  # 77.922
        ('100%', {'macs': 234}),
        ('0.1k', {'macs': 100}),
        ('100', {'macs': 100}),
        (1e2, {'macs': 100}),
        (np.int64(100), {'macs': 100}),
        (np.float64(100), {'macs': 100}),
        (234, {'macs': 234}),
        (15, {'macs': 15}),
        ({'params': '25%'}, {'params': 22}),
        ({'macs': '50%', 'params': '0.02K'}, {'macs': 117, 'params': 20}),
    ],
)
def test_parse(spec, limits):
    budget = Budget.parse(spec, DOMAIN)
    assert budget.limits == limits
    assert all(type(limit) is int for limit in budget.limits.values())


@pytest.mark.parametrize(
    ('spec', 'said'),
    [
        ('half', "budget='half'.*'50%'.*'300M'"),
        ('', "budget=''.*'50%'"),
        ('%', "budget='%'.*'50%'"),
        ('5 MACs', "budget='5 MACs'.*'300M'"),
        ('nan', "budget='nan'.*'50%'"),
        ('nan%', "budget='nan%'.*'50%'"),
        (float('nan'), "budget=nan.*'50%'"),
        (float('inf'), "budget=inf.*'50%'"),
        ('-50%', "budget='-50%'.*'50%'"),
        (-3e8, "budget=-300000000.0.*not negative.*'50%'"),
        (0, "budget=0 must be above zero.*'50%'"),
        ('0%', "budget='0%' must be above zero.*'50%'"),
        (True, "budget=True.*'50%'"),
        (None, "budget=None.*'50%'"),
        ([1], r"budget=\[1\].*'50%'"),
        (0.5, "budget=0.5.*here '50%'"),
        ({}, "budget={}.*no limit given.*'macs' and 'params'"),
        ({'flops': '50%'}, "unknown key 'flops'.*'macs' and 'params'"),
        ({'macs': True}, r"budget\['macs'\]=True.*'50%'"),
        (
            '101%',
            "budget='101%' allows 236 MACs, .* full network has 234 MACs: no search is needed.*give less",
        ),
        (235, 'the full network has 234 MACs: no search is needed'),
        ({'macs': 100, 'params': 89}, r"budget\['params'\]=89 .*88 parameters.*leave this limit out"),
        (
            '1%',
            "budget='1%' allows 2 MACs.* smallest reachable network has 15 MACs: give at least 15 or '6.42%'",
        ),
        (14, "budget=14 .*15 MACs: give at least 15 or '6.42%'"),
        ({'macs': 100, 'params': 3}, r"budget\['params'\]=3 .*4 parameters: give at least 4 or '4.55%'"),
    ],
)
def test_a_bad_budget_names_the_value_and_the_remedy(spec, said):
    with pytest.raises(ValueError, match=said):
        Budget.parse(spec, DOMAIN)


def test_an_absurd_exponent_ends_at_once():
    with pytest.raises(ValueError, match='budget='):
        Budget.parse('1e999999999', DOMAIN)


def test_the_percentage_of_the_remedy_is_enough():
    domain = Line(fixed=1, slope=29)  # smallest 30, full 117: 25.641 %
    with pytest.raises(ValueError, match='smallest') as error:
        Budget.parse('1%', domain)
    percent = re.search(r"or '(.*%)'", str(error.value))[1]
    assert percent == '25.65%'
    assert Budget.parse(percent, domain).limits == {'macs': 30}


def test_costs_and_what_is_allowed():
    widths = np.array([[2, 1], [4, 3], [8, 3], [8, 10]])
    budget = Budget.parse({'macs': 87, 'params': 32}, DOMAIN)
    # MACs: 15, 12 + 24 + 15 = 51, 24 + 48 + 15 = 87, 234. Parameters: 4, 16, 32, 88.
    costs = budget.costs(widths)
    assert costs['macs'].tolist() == [15, 51, 87, 234]
    assert costs['params'].tolist() == [4, 16, 32, 88]
    assert budget.allows(widths).tolist() == [True, True, True, False]
    np.testing.assert_allclose(budget.usage(widths), [15 / 87, 51 / 87, 1, 88 / 32])


def test_not_even_by_one():
    widths = np.array([[8, 3]])  # 87 MACs, 32 parameters
    assert Budget.parse(87, DOMAIN).allows(widths).tolist() == [True]
    assert Budget.parse(86, DOMAIN).allows(widths).tolist() == [False]
    assert Budget.parse({'macs': 234, 'params': 31}, DOMAIN).allows(widths).tolist() == [False]


def test_not_even_by_one_where_floats_cannot_tell():
    budget = Budget.parse(2**58 + 2, Line(fixed=2**58, slope=1))
    widths = np.array([[1], [2], [3], [4]])
    assert budget.allows(widths).tolist() == [True, True, False, False]
    assert (budget.usage(widths) > 1).tolist() == [False, False, True, True]


def test_describe():
    resnet18 = Line(fixed=0, slope=1_814_073_344 // 4)
    assert Budget.parse('50%', resnet18).describe() == 'MACs <= 907M (50.0% of 1.81G)'
    both = Budget.parse({'macs': 100, 'params': 22}, DOMAIN)
    assert both.describe() == 'MACs <= 100 (42.7% of 234) and parameters <= 22 (25.0% of 88)'


def test_equal_limits_are_equal_budgets():
    budget = Budget.parse('50%', DOMAIN)
    assert budget == Budget.parse(117, TwoLayers()) == copy.deepcopy(budget)
    assert budget != Budget.parse(116, DOMAIN)
    assert repr(budget) == "Budget(limits={'macs': 117})"


@given(macs=st.integers(15, 234), params=st.integers(4, 88))
def test_limits_parse_to_themselves(macs, params):
    budget = Budget.parse({'macs': macs, 'params': params}, DOMAIN)
    assert budget.limits == {'macs': macs, 'params': params}
    assert Budget.parse(budget.limits, DOMAIN) == budget
    assert Budget.parse(str(macs), DOMAIN) == Budget.parse(float(macs), DOMAIN) == Budget.parse(macs, DOMAIN)


@given(hundredths=st.integers(2500, 10_000), slope=st.integers(1, 10**15))
def test_a_percentage_is_cut_off(hundredths, slope):
    limits = Budget.parse(f'{hundredths / 100:.2f}%', Line(fixed=0, slope=slope)).limits
    assert limits == {'macs': 4 * slope * hundredths // 10_000}  # the smallest of four widths is 25 %


@given(limit=st.integers(15, 234), a=st.sampled_from([2, 4, 8]), b=st.sampled_from([1, 3, 10]))
def test_usage_agrees_with_allows(limit, a, b):
    budget, widths = Budget.parse(limit, DOMAIN), np.array([[a, b]])
    assert (budget.usage(widths) <= 1) == budget.allows(widths) == (DOMAIN.macs({'a': a, 'b': b}) <= limit)
