from __future__ import annotations

import pytest
from torch import nn

from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.options import BudgetSpecs
from nni_cafenet.pruning.defaults import default_min_ratio

NET = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 10))  # 280 MACs, 310 parameters
EXAMPLE = ExampleInput.of((1, 4), NET)


@pytest.mark.parametrize(
    ('budgets', 'ratio'),
    [
        (['25%'], 0.3),
        (['75%', '25%', '50%'], 0.3),
        ([70], 0.3),
        ([{'macs': '81%', 'params': 31}], round(0.6 * 0.1**0.5, 3)),
        ([{'latency': '36%'}], 0.36),
        ([{'latency': '5ms', 'device': 'cpu'}], 0.3),
        (['100%'], 0.6),
    ],
)
def test_the_smallest_ratio_follows_the_smallest_budget(budgets, ratio):
    assert default_min_ratio(BudgetSpecs.of(budgets), NET, EXAMPLE) == ratio


@pytest.mark.parametrize('budget', ['half', '0%', {'flops': '50%'}])
def test_budgets_that_cannot_be_read(budget):
    with pytest.raises(ValueError, match='budget'):
        default_min_ratio(BudgetSpecs.of([budget]), NET, EXAMPLE)
