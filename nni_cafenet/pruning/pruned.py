"""What pruning makes: networks that are really smaller, and what they cost and do."""

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
        A really smaller plain module in evaluation mode on the CPU, with inherited and fine-tuned weights. Its channels
        are in the order of the original model.
    widths
        ``{label: channels}``.
    macs, params
        Its cost: MACs of one sample, parameters.
    metric
        The metric of the report (``report.metric``) on the validation data, of the network as it is; None if it has none.
    kept
        ``{label: int64 tensor}``: which channels of the original model it has, ascending.
    report
        The networks of the run, side by side; prints as a table.
    history
        Every width that was scored.
    directory
        The folder with its ``widths.json`` and ``slim.pt``.
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
    """Pruned networks of several budgets, out of one supernet, in the order of the budgets.

    Parameters
    ----------
    members
        The networks.
    report
        All of them side by side.
    """

    members: tuple[Pruned, ...]
    report: RunReport

    @property
    def front(self) -> tuple[Pruned, ...]:
        """The members on the Pareto front: none of the others has a better metric at no more MACs."""
        sign = 1 if self.report.metric_higher_is_better else -1
        fitness = [math.nan if each.metric is None else sign * each.metric for each in self.members]
        chosen = pareto_front([each.macs for each in self.members], fitness)
        return tuple(each for each, on_it in zip(self.members, chosen) if on_it)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: Any) -> Any:
        return self.members[index]
