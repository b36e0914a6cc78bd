"""The ``mutation_summary`` of a trial: widths and cost for NNI's web UI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..utils import check_whole_number
from .axis_labels import short_labels

__all__ = ['SummarizedSpace', 'mutation_summary', 'published_axes']

Value = str | int | float

_ROOM = 208  # characters in a row of labels, on a page of 1500 pixels
_OTHERS = 6  # axes beside those of the widths: the stage, costs, results
_SHORTEST = 8  # characters that a label keeps in any case
_MOST = 12  # axes of widths
_COARSE = 4  # fewer axes than these say too little of a model
_COSTS = ('MACs', 'MACs %', 'params')


class SummarizedSpace(Protocol):
    """The interface of a `WidthSpace` that a summary uses."""

    @property
    def choices(self) -> Mapping[str, Sequence[int]]:
        """Allowed widths of every group, in network order, ascending."""

    @property
    def full_widths(self) -> Mapping[str, int]:
        """Width of every group in the full network; it need not be allowed."""

    def checked(self, widths: Mapping[str, int], /) -> dict[str, int]:
        """Widths as plain numbers in the order of the labels; a ValueError if they are none."""

    def macs(self, widths: Any, /) -> Any:
        """Multiply-accumulates of one sample, an int for ``{label: channels}``."""

    def params(self, widths: Any, /) -> Any:
        """Number of parameters, an int for ``{label: channels}``."""


def mutation_summary(
    space: SummarizedSpace,
    widths: Mapping[str, int],
    *,
    stage: str | None = None,
    most: int = _MOST,
    **more: Value,
) -> dict[str, Value]:
    """Return widths and cost of a network as labeled values, for the web UI's axes and columns.

    There are at most ``most`` axes of widths. Models with more groups are summarized by blocks: the deepest level of
    dotted names with at most ``most`` blocks, or, if that is too coarse, runs of adjacent blocks of the next level.

    In this order: the ``'stage'`` of the trial; the width of every group, in channels, or the kept share of every
    block's channels, in percent (labels end in ``' %'``); ``'MACs'`` (one sample) and ``'MACs %'`` (of the full
    network), ``'params'``; then ``more``. Labels are short (see `short_labels`). Keys depend on the space only.

    >>> mutation_summary(space, {'conv1': 4, 'layer1.0.conv1': 16}, stage='finalist')
    {'stage': 'finalist', 'conv1': 4, 'layer1.0.conv1': 16, 'MACs': 41472, 'MACs %': 25.7, 'params': 1408}
    """
    most = check_whole_number('most', most, 1)
    taken = [name for name in more if name in _COSTS]
    if taken:
        raise ValueError(f'{taken[0]!r} is a key of the summary itself; give the value another name.')
    full = dict(space.full_widths)
    kept = space.checked(widths)
    macs = int(space.macs(kept))
    summary: dict[str, Value] = {} if stage is None else {'stage': stage}
    summary.update(_axes(kept, full, most, {'stage', *_COSTS, *more}))
    summary['MACs'] = macs
    summary['MACs %'] = round(100 * macs / int(space.macs(full)), 1)
    summary['params'] = int(space.params(kept))
    return {**summary, **more}


def published_axes(space: SummarizedSpace, *, most: int = _MOST) -> dict[str, dict[str, Any]]:
    """Return the axes of summaries as a search space in NNI's format, so that their ranges are constant in the UI."""
    full = dict(space.full_widths)
    largest = {label: allowed[-1] for label, allowed in space.choices.items()}
    smallest = {label: allowed[0] for label, allowed in space.choices.items()}
    low, high = (_axes(widths, full, most, {'stage', *_COSTS}) for widths in (smallest, largest))
    return {label: {'_type': 'uniform', '_value': [low[label], high[label]]} for label in low}


def _axes(widths: Mapping[str, int], full: Mapping[str, int], most: int, reserved: set[str]) -> dict[str, Value]:
    if len(full) <= most:
        return dict(zip(short_labels(list(full), _size(len(full)), reserved), widths.values()))
    blocks = _blocks(list(full), most)
    shares = [
        round(100 * sum(widths[label] for label in labels) / sum(full[label] for label in labels), 1)
        for labels in blocks.values()
    ]
    names = short_labels(list(blocks), _size(len(blocks)) - len(' %'))
    return {f'{name} %': share for name, share in zip(names, shares)}


def _size(axes: int) -> int:
    return max(_SHORTEST, _ROOM // (axes + _OTHERS - 1))


def _blocks(labels: Sequence[str], most: int) -> dict[str, list[str]]:
    """Group labels into at most ``most`` blocks by prefixes of their dotted names."""
    levels = [_by_prefix(labels, depth) for depth in range(1, 2 + max(label.count('.') for label in labels))]
    fitting = [level for level in levels if len(level) <= most]
    finer = levels[len(fitting)]  # the deepest level has a block a label, which are too many
    if fitting and len(fitting[-1]) >= min(_COARSE, most):
        return fitting[-1]
    names, run = list(finer), -(-len(finer) // most)
    runs = [names[i : i + run] for i in range(0, len(names), run)]
    return {_run_name(run): [label for name in run for label in finer[name]] for run in runs}


def _by_prefix(labels: Iterable[str], depth: int) -> dict[str, list[str]]:
    blocks: dict[str, list[str]] = {}
    for label in labels:
        blocks.setdefault('.'.join(label.split('.')[:depth]), []).append(label)
    return blocks


def _run_name(names: Sequence[str]) -> str:
    """Name a run of neighbors by its ends: ``'encoder.layer.0-3'``, ``'conv1-conv4'``."""
    if len(names) == 1:
        return names[0]
    first, last = names[0].split('.'), names[-1].split('.')
    shared = 0
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return f'{names[0]}-{".".join(last[shared:])}'
