from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nni_cafenet.search.budget import Budget


class TwoLayers:
    """MACs 3 a + 2 a b + 5 b, parameters a b + a."""

    choices = {'a': (2, 4, 8), 'b': (1, 3, 10)}
    full_widths = {'a': 8, 'b': 10}
    listed = False

    def group_widths(self, widths):
        return widths

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


class Latency:
    """Latency 1000 a + 200 b ns."""

    def latency(self, widths):
        return 1000 * widths[:, 0] + 200 * widths[:, 1]

    def fingerprint(self):
        return 'two layers'


DOMAIN, TABLE = TwoLayers(), Latency()
# Latency of the full network 10000 ns, of the smallest 2200 ns.
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
        (0, "budget=0: must be above zero.*'50%'"),
        ('0%', "budget='0%': must be above zero.*'50%'"),
        (True, "budget=True.*'50%'"),
        (None, "budget=None.*'50%'"),
        ([1], r"budget=\[1\].*'50%'"),
        (0.5, "budget=0.5.*here '50%'"),
        ({}, "budget={}.*no limit given.*'macs' and 'params'"),
        ({'flops': '50%'}, "unknown key 'flops'.*'macs' and 'params'"),
        ({'macs': True}, r"budget\['macs'\]=True.*'50%'"),
        (
            '101%',
            "budget='101%': 101% is more than the full network: no search is needed; give less",
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


@pytest.mark.parametrize(
    ('spec', 'limits'),
    [
        ({'latency': '5us'}, {'latency': 5000}),
        ({'latency': '0.005 ms', 'device': 'cpu', 'batch': 1, 'threads': 2}, {'latency': 5000}),
        ({'latency': '33.339%'}, {'latency': 3333}),
        ({'latency': '2200ns'}, {'latency': 2200}),
        ({'latency': '100%'}, {'latency': 10_000}),
        ({'latency': '50%', 'params': 22, 'macs': '50%'}, {'macs': 117, 'params': 22, 'latency': 5000}),
    ],
)
def test_latencies(spec, limits):
    budget = Budget.parse(spec, DOMAIN, TABLE)
    assert budget.limits == limits
    assert all(type(limit) is int for limit in budget.limits.values())
    assert budget.table is TABLE


@pytest.mark.parametrize(
    ('spec', 'said'),
    [
        ({'latency': 5}, r"budget\['latency'\]=5: a time must be a string with a unit, such as '5ms'"),
        ({'latency': 0.5}, r"budget\['latency'\]=0.5: .*'0.8 s' or '750us', or a share .* '50%'"),
        ({'latency': '5'}, "'5' is not a time"),
        ({'latency': '5 parsecs'}, "'5 parsecs' is not a time"),
        ({'latency': None}, 'not None'),
        ({'latency': '0ms'}, r"budget\['latency'\]='0ms': must be above zero"),
        ({'latency': '0.5ns'}, 'must be above zero'),
        (
            {'latency': '1us'},
            r"budget\['latency'\]='1us' allows 1 us \(predicted\), but the smallest reachable network takes 2.20 us "
            r"\(predicted\): give at least '3us' or '22.00%', or allow smaller widths",
        ),
        ({'latency': '21%'}, "takes 2.20 us .*give at least '3us' or '22.00%'"),
        ({'latency': '1s'}, r'allows 1 s \(predicted\), but the full network takes 10 us .*: no search is needed'),
        ({'latency': '5us', 'gpu': 0}, "unknown key 'gpu'; allowed keys .* 'latency'.*'device', 'batch'"),
        ({'macs': '50%', 'device': 'cpu'}, "'device' belongs to a latency; add one.* or leave 'device' out"),
        ({'device': 'cpu'}, 'no limit given'),
        ({'latency': '5us', 'batch': 0}, r"budget\['batch'\]=0 must be a whole number"),
        ({'latency': '5us', 'device': 'toaster'}, "device='toaster' is not a device of torch"),
        ({'latency': '5us', 'table': 'nowhere.json'}, "latency table 'nowhere.json' cannot be read"),
        ({'latency': '5us', 'macs': 14}, '15 MACs'),
    ],
)
def test_bad_latencies(spec, said):
    with pytest.raises(ValueError, match=said):
        Budget.parse(spec, DOMAIN, TABLE)


def test_all_but_the_table_is_checked_beforehand():
    assert Budget.check({'latency': '1ns', 'macs': 100}, DOMAIN).limits == {'macs': 100}
    assert Budget.check('50%', DOMAIN) == Budget.parse('50%', DOMAIN)
    for bad in ({'latency': '5'}, {'latency': '5ms', 'batch': -1}, {'latency': '5ms', 'macs': 14}, '1%', {'batch': 1}):
        with pytest.raises(ValueError, match='budget'):
            Budget.check(bad, DOMAIN)


def test_the_latency_of_widths_is_limited():
    widths = np.array([[2, 1], [4, 3], [8, 1]])  # 2200, 4600, 8200 ns
    budget = Budget.parse({'latency': '4600ns', 'params': 24}, DOMAIN, TABLE)
    assert budget.costs(widths)['latency'].tolist() == [2200, 4600, 8200]
    assert budget.allows(widths).tolist() == [True, True, False]
    np.testing.assert_allclose(budget.usage(widths), [2200 / 4600, 1, 8200 / 4600])
    assert budget.describe() == 'parameters <= 24 (27.3% of 88) and latency <= 4.60 us (46.0% of 10 us, predicted)'
    with pytest.raises(ValueError, match='needs a table that predicts latencies: create the budget by Budget.parse'):
        Budget({'latency': 4600}, DOMAIN).allows(widths)


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
