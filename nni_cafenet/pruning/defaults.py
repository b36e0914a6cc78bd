"""What a pruning run does where the user leaves it open: the smallest widths."""

from __future__ import annotations

import math
from typing import Any

from ..analysis import layer_macs
from ..graph import ExampleInput
from ..options import BudgetSpecs

__all__ = ['default_min_ratio']

_OF_UNIFORM = 0.6
_LATENCY_SHARE = 0.25


def default_min_ratio(budgets: BudgetSpecs, model: Any, example: ExampleInput) -> float:
    """Return the smallest share of its full width that a group may have.

    0.6 times the ratio at which the uniformly scaled network has about the MACs of the smallest budget, the square root of
    its share: 0.3 for 25 %, 0.42 for 50 %.

    Notes
    -----
    Our choice. A short training does not reach all widths; one that is spent on widths that no network of the budget can do
    with is lost for the others. BCNetV2 keeps the first bins of each layer for the same reason. What it brings is in
    docs/pruning.md.
    """
    macs = sum(layer_macs(model, example).values())
    params = sum(parameter.numel() for parameter in model.parameters())
    shares = [spec.share(macs=macs, params=params, unknown=_LATENCY_SHARE) for spec in budgets]
    return round(_OF_UNIFORM * math.sqrt(min(1.0, *shares)), 3)
