"""Default minimum widths of a pruning run."""

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

    It is 0.6 times the ratio of the uniform network at the smallest budget, estimated as the square root of its share
    of the MACs: 0.3 for 25 %, 0.42 for 50 %. A choice of this package: short training cannot cover all widths, so it
    should not be spent on widths that no good network of the budget has. BCNetV2 keeps the first bins of each layer for
    the same reason.
    """
    macs = sum(layer_macs(model, example).values())
    params = sum(parameter.numel() for parameter in model.parameters())
    shares = [spec.share(macs=macs, params=params, unknown=_LATENCY_SHARE) for spec in budgets]
    return round(_OF_UNIFORM * math.sqrt(min(1.0, *shares)), 3)
