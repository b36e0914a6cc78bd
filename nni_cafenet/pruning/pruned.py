"""What pruning makes: networks that are really smaller, and what they cost and do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ..search.history import History
from ..tables import as_table
from ..units import format_count

__all__ = ['NetworkFigures', 'PruneReport', 'Pruned', 'PrunedFamily']


@dataclass(frozen=True)
class NetworkFigures:
    """A network in the table of a pruning run.

    Parameters
    ----------
    name
        What it is called: ``'full'``, ``'uniform'``, ``'pruned'``, with the budget where there are several.
    widths
        ``{label: channels}``.
    macs, params
        Its cost: MACs of one sample, parameters.
    before, inherited, finetuned
        The metric of the original network, with inherited weights before it is fine-tuned, and after; None where it was
        not measured.
    """

    name: str
    widths: dict[str, int]
    macs: int
    params: int
    before: float | None = None
    inherited: float | None = None
    finetuned: float | None = None


@dataclass(frozen=True)
class PruneReport:
    """The networks of a run, side by side; prints as a table.

    Parameters
    ----------
    metric
        What was measured, on the validation data.
    networks
        The full network first.
    notes
        What a reader should know.
    """

    metric: str
    networks: tuple[NetworkFigures, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        full = self.networks[0].macs
        rows = []
        for each in self.networks:
            values = [
                '' if value is None else f'{value:.4f}' for value in (each.before, each.inherited, each.finetuned)
            ]
            share = f'{100 * each.macs / full:.1f} %'
            rows.append([each.name, format_count(each.macs), share, format_count(each.params), *values])
        headers = ['network', 'MACs', 'of full', 'params', f'{self.metric} before', 'inherited', 'fine-tuned']
        return '\n'.join([as_table(headers, rows), *self.notes])


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
        The networks of the run, side by side.
    history
        Every width that was scored.
    directory
        The folder of the run.
    """

    model: nn.Module
    widths: dict[str, int]
    macs: int
    params: int
    kept: dict[str, Tensor]
    report: PruneReport
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
    report: PruneReport

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.members[index]

    def __iter__(self) -> Iterator[Pruned]:
        return iter(self.members)
