"""How much a trained network loses if one channel group alone becomes narrower: a first look, without any training."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ..channel_importance import importance as channel_importance, needs_data, order_channels
from ..report import sensitivity_plot
from ..search import batch_size
from ..space import WidthSpace
from ..supernet import estimate_statistics
from ..utils import (
    as_table,
    check_instance,
    check_number,
    check_path,
    check_whole_number,
    format_count,
    map_tensors,
    seeded,
    write_bytes,
)
from .checks import first_batch
from .objective import Task

__all__ = ['Sensitivity', 'sensitivity']


@dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` has found. ``print`` shows it as a table, the most sensitive group first.

    Attributes
    ----------
    loss
        Mean loss of the whole network on the measured batches.
    full
        ``{label: full width}``, in network order.
    losses
        ``{label: {width: loss}}`` of the network in which this group alone has that width.
    macs
        ``{label: {width: MACs}}`` of that network, and under ``full_macs`` those of the whole one.
    """

    loss: float
    full: dict[str, int]
    losses: dict[str, dict[int, float]]
    macs: dict[str, dict[int, int]]
    full_macs: int

    def rises(self, label: str) -> list[float]:
        """Return how much the loss rises at each measured width of a group, the widest first."""
        return [loss - self.loss for _, loss in sorted(self.losses[label].items(), reverse=True)]

    def most_sensitive(self) -> list[str]:
        """Return the groups by the rise of the loss at their narrowest width, the largest first; NaN counts as largest."""

        def rise(label: str) -> float:
            last = self.rises(label)[-1]
            return math.inf if math.isnan(last) else last

        return sorted(self.losses, key=rise, reverse=True)

    def importance(self) -> dict[str, list[float]]:
        """Return what each channel of a group adds to the loss when it leaves, ``{label: numbers}``, for a `Knapsack`.

        The rise of the loss is interpolated between measured widths and, below the narrowest, continued; it counts as at
        least that of every larger width, NaN as the largest rise of all groups. Channels are in the order in which they
        were ranked. These numbers are losses and compare between groups: ``Knapsack(found.importance(), objective='sum')``.
        """
        known = [rise for label in self.losses for rise in self.rises(label) if math.isfinite(rise)]
        most = max(known, default=0.0)
        rises = {
            label: {width: loss - self.loss if math.isfinite(loss) else most for width, loss in found.items()}
            for label, found in self.losses.items()
        }
        return {label: _losses_of_channels(self.full[label], each) for label, each in rises.items()}

    def __str__(self) -> str:
        rows = []
        for label in self.most_sensitive():
            widths = sorted(self.losses[label], reverse=True)
            saved = self.full_macs - self.macs[label][widths[-1]]
            rises = ', '.join(f'{width}: {self.losses[label][width] - self.loss:+.4f}' for width in widths)
            rows.append([label, self.full[label], rises, f'{format_count(saved)} ({saved / self.full_macs:.1%})'])
        table = as_table(['group', 'channels', 'rise of the loss at a width', 'MACs saved at most'], rows, align='lrlr')
        return f'{table}\nloss of the whole network: {self.loss:.4f}'

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        groups = {
            label: {str(width): {'loss': loss, 'macs': self.macs[label][width]} for width, loss in found.items()}
            for label, found in self.losses.items()
        }
        return {'loss': self.loss, 'macs': self.full_macs, 'full': self.full, 'groups': groups}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the rise of the loss for every group and width into a ``.svg``, ``.png`` or ``.pdf`` file.

        Raises ValueError for another kind of file.
        """
        path = check_path('path', path)
        rows = [
            (label, [(width / self.full[label], loss - self.loss) for width, loss in sorted(found.items())])
            for label, found in self.losses.items()
        ]
        write_bytes(path, sensitivity_plot(rows, suffix=path.suffix))


def sensitivity(
    space: WidthSpace,
    data: Any,
    loss: Any = None,
    *,
    shares: Sequence[float] = (0.75, 0.5, 0.25),
    importance: Any = 'group',
    batches: int = 8,
    statistics_batches: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> Sensitivity:
    """Measure how much a trained network loses if one channel group alone becomes narrower.

    Of each group the most important channels stay; running statistics are re-estimated, and the loss is taken on a few
    batches. Nothing is trained, so this takes minutes; the network itself is not changed. Losses of several narrow groups
    do not add up, and fine-tuning changes them: this is a first look, not a search.

    Parameters
    ----------
    space
        The space of the trained network: ``WidthMutator().mutate(model, example_input=...)``.
    data
        A loader of ``(inputs, target)``: training data, or other data like it. Its batches are moved to the device of the
        network.
    loss
        As in `prune`. Default: ``'cross_entropy'`` where targets are classes.
    shares
        Widths of each group, as shares of its full width, between 0 and 1; the nearest allowed widths are measured.
    importance
        How channels are ranked (see `nni_cafenet.importance`); None: the leftmost ones stay.
    batches, statistics_batches
        Batches for the loss, and others for running statistics. Statistics come from the first ones of the loader.
    seed
        Seed of the loader's order.
    progress
        Show a progress bar.

    Returns
    -------
    A `Sensitivity`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or the data do not fit the network; before anything is measured.

    Examples
    --------
    >>> found = sensitivity(space, loader)
    >>> print(found)
    >>> found.plot('sensitivity.svg')
    """
    check_instance('space', space, WidthSpace, 'Make one: WidthMutator().mutate(model, example_input=...).')
    wanted = _checked(shares)
    batches = check_whole_number('batches', batches, 1)
    statistics_batches = check_whole_number('statistics_batches', statistics_batches, 0)
    task = Task.of(loss, None, space, _moved(first_batch(data, seed, 'data'), space))
    copied = copy.deepcopy(space)
    copied.eval()
    drawn = _drawn(data, copied, batches + statistics_batches, seed)
    measured, statistics = drawn[statistics_batches:] or drawn, drawn[:statistics_batches]
    if importance is not None:
        more: dict[str, Any] = {'batches': measured, 'loss': task.step} if needs_data(importance) else {}
        order_channels(copied, channel_importance(copied, importance, **more))
    widths = {label: _widths(copied, label, wanted) for label in copied.labels}
    total = sum(map(len, widths.values()))
    with tqdm(total=1 + total, desc='Sensitivity', unit='width', dynamic_ncols=True, disable=not progress) as bar:
        full = dict(copied.full_widths)
        before = _loss(copied, full, task, statistics, measured)
        bar.update()
        losses = dict[str, dict[int, float]]()
        for label, each in widths.items():
            losses[label] = {}
            for width in each:
                losses[label][width] = _loss(copied, {**full, label: width}, task, statistics, measured)
                bar.update()
    macs = {label: {width: int(copied.macs({**full, label: width})) for width in losses[label]} for label in losses}
    return Sensitivity(before, full, losses, macs, int(copied.macs(full)))


def _losses_of_channels(full: int, rises: Mapping[int, float]) -> list[float]:
    """Return how much the rise of a loss grows with each channel that leaves, the first channel first."""
    widths = [full, *sorted(rises, reverse=True)]
    heights = np.maximum.accumulate([0.0, *(rises[width] for width in widths[1:])])
    if len(widths) > 1:
        slope = (heights[-1] - heights[-2]) / (widths[-2] - widths[-1])
        widths, heights = [*widths, 0], np.append(heights, heights[-1] + slope * widths[-1])
    rise = np.interp(np.arange(full + 1), widths[::-1], heights[::-1])
    numbers: list[float] = (rise[:-1] - rise[1:]).clip(min=0).tolist()
    return numbers


def _checked(shares: Sequence[float]) -> list[float]:
    if isinstance(shares, (str, bytes)) or not isinstance(shares, Sequence) or not shares:
        raise TypeError(f'shares={shares!r} must be numbers between 0 and 1, such as (0.75, 0.5, 0.25).')
    for share in shares:
        if not 0 < check_number('shares', share, 0, 1) < 1:
            raise ValueError(f'shares={shares!r}: {share} must lie between 0 and 1.')
    return sorted(map(float, shares), reverse=True)


def _widths(space: WidthSpace, label: str, shares: Sequence[float]) -> list[int]:
    """Return the allowed widths of a group that are nearest to shares of its full width, the largest first."""
    full = space.full_widths[label]
    allowed = [int(width) for width in space.choices[label] if width < full]
    found = (min(allowed, key=lambda width: abs(width - share * full)) for share in shares if allowed)
    return sorted(set(found), reverse=True)


def _drawn(data: Any, space: WidthSpace, number: int, seed: int) -> list[Any]:
    with seeded(seed):
        return [_moved(batch, space) for batch, _ in zip(data, range(number))]


def _moved(batch: Any, space: WidthSpace) -> Any:
    device = next((tensor.device for tensor in space.parameters()), torch.device('cpu'))
    return map_tensors(lambda tensor: tensor.to(device), batch)


def _loss(
    space: WidthSpace, widths: Mapping[str, int], task: Task, statistics: Sequence[Any], measured: Sequence[Any]
) -> float:
    space.activate(widths)
    with torch.no_grad(), space.prepared() as tensors:
        estimate_statistics(space, tensors, statistics, lambda batch: task.outputs(space, batch))
        losses = [(float(task.step(space, batch)), batch_size(batch)) for batch in measured]
    return sum(loss * samples for loss, samples in losses) / sum(samples for _, samples in losses)
