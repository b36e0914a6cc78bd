"""Results of pruning: smaller networks with their costs and metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..report import RunReport
from ..search import History, pareto_front

__all__ = ['Pruned', 'PrunedFamily']


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Parameters
    ----------
    model
        A plain, smaller module in evaluation mode on the CPU, with inherited or fine-tuned weights and channels in their
        original order.
    widths
        ``{label: channels}``.
    macs, params
        MACs for one sample, and parameters.
    metric
        Validation metric (named ``report.metric``) of `model`; None if there is none.
    kept
        ``{label: int64 tensor}``, ascending indices of its channels in the original model.
    report
        A comparison of the networks of the run; prints as a table.
    history
        All scored widths.
    directory
        The folder of its ``widths.json`` and ``slim.pt``.
    """

    model: nn.Module
    widths: dict[str, int]
    macs: int
    params: int
    metric: float | None
    kept: dict[str, Tensor]
    report: RunReport
    history: History = field(repr=False)
    directory: Path


@dataclass(frozen=True)
class PrunedFamily(Sequence[Pruned]):
    """Pruned networks for several budgets from one supernet, in the order of the budgets.

    Parameters
    ----------
    members
        The networks.
    report
        A comparison of all networks.
    """

    members: tuple[Pruned, ...]
    report: RunReport

    @property
    def front(self) -> tuple[Pruned, ...]:
        """The members on the Pareto front of metric and MACs."""
        sign = 1 if self.report.metric_higher_is_better else -1
        fitness = [math.nan if each.metric is None else sign * each.metric for each in self.members]
        chosen = pareto_front([each.macs for each in self.members], fitness)
        return tuple(each for each, on_it in zip(self.members, chosen) if on_it)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: Any) -> Any:
        return self.members[index]
