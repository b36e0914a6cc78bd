"""What pruning makes: networks that are really smaller, and what they cost and do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..report.run_report import RunReport
from ..search.history import History

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

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: Any) -> Any:
        return self.members[index]
