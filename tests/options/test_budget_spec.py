"""The grammar of budgets; tests/search/test_budget.py has what depends on a space."""

from __future__ import annotations

import pickle
from fractions import Fraction

import pytest

from nni_cafenet.options import BudgetSpec, BudgetSpecs


@pytest.mark.parametrize(
    ('value', 'name', 'limits'),
    [
        ('50%', '50%', [('macs', Fraction(1, 2), 0)]),
        (' 50 % ', '50%', [('macs', Fraction(1, 2), 0)]),
        (3e8, '300M', [('macs', None, 300_000_000)]),
        ({'params': '5M', 'macs': 10}, 'macs=10,params=5M', [('macs', None, 10), ('params', None, 5_000_000)]),
        ({'latency': '5 ms', 'batch': 1}, 'latency=5ms', [('latency', None, 5_000_000)]),
    ],
)
def test_what_is_read(value, name, limits):
    spec = BudgetSpec.of(value)
    assert (spec.name, repr(spec)) == (name, repr(value))
    assert [(limit.cost, limit.share, limit.amount) for limit in spec.limits] == limits
    assert BudgetSpec.of(spec) is spec
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_amounts_are_rounded_down():
    (limit,) = BudgetSpec.of('33.3%').limits
    assert (limit.within(1000), limit.within(10)) == (333, 3)


def test_what_latencies_are_measured_by():
    spec = BudgetSpec.of({'latency': '50%', 'device': 'cpu', 'batch': 2, 'macs': '75%'})
    assert spec.measured == {'device': 'cpu', 'batch': 2}
    assert spec.latency.share == Fraction(1, 2)
    assert BudgetSpec.of('50%').latency is None


@pytest.mark.parametrize(
    ('value', 'share'),
    [
        ('25%', 0.25),
        (50, 0.5),
        ({'macs': '50%', 'params': 2}, 0.2),
        ({'latency': '5ms'}, 0.7),
        ({'latency': '5%'}, 0.05),
    ],
)
def test_the_smallest_share(value, share):
    assert BudgetSpec.of(value).share(macs=100, params=10, unknown=0.7) == share


def test_several():
    family = BudgetSpecs.of(['75%', {'params': '5M'}])
    assert (family.names, len(family), repr(family)) == (['75%', 'params=5M'], 2, "['75%', {'params': '5M'}]")
    assert BudgetSpecs.of(['50%']).names == ['50%']
    assert BudgetSpecs.of('50%').names == [None]
    assert BudgetSpecs.of(family) is family


@pytest.mark.parametrize(
    ('value', 'why'),
    [
        ([], 'lists no budget'),
        (['50%', '50 %'], 'has 50% twice'),
        ('half', "'half' is not a count"),
        ('101%', 'more than the full network: no search is needed'),
        ({'latency': '5ms', 'batch': 0}, r"budget\['batch'\]=0 must be a whole number, 1 or more"),
        ({'batch': 1}, 'no limit given'),
        ({'macs': 1, 'batch': 1}, "'batch' belongs to a latency"),
    ],
)
def test_what_is_refused(value, why):
    with pytest.raises(ValueError, match=why):
        BudgetSpecs.of(value)
