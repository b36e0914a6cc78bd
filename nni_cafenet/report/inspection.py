"""What a width space is made of, as records: for tables, files, pictures and notebooks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..analysis.layer_macs import layer_macs
from ..space.width_space import WidthSpace
from .inspection_table import inspection_csv, inspection_text

__all__ = ['FixedRecord', 'GroupRecord', 'Inspection', 'LayerRecord', 'inspect_space']


@dataclass(frozen=True)
class GroupRecord:
    """
    One channel group.

    Parameters
    ----------
    label
        Its label.
    width
        Its full width, in channels.
    bin
        Channels a bin.
    widths
        The widths that it may have, ascending.
    macs
        MACs, for one sample of the full network, of what makes or reads its channels.
    share
        The same as a share of all MACs, 0 to 1. A layer between two groups counts in both.
    macs_a_channel
        MACs of one channel in the full network: its filters in every layer that makes it, and its slice of every layer
        that reads it.
    made_by, read_by, others
        Layers whose outputs, whose inputs these channels are; other layers that the group touches (normalisation).
    """

    label: str
    width: int
    bin: int
    widths: tuple[int, ...]
    macs: int
    share: float
    macs_a_channel: int
    made_by: tuple[str, ...]
    read_by: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class FixedRecord:
    """Output channels of a layer that cannot change: the layer, how many, and why."""

    layer: str
    width: int
    reason: str


@dataclass(frozen=True)
class LayerRecord:
    """
    The MACs of one layer.

    Parameters
    ----------
    layer
        Its name; ``''`` for what the model itself computes.
    macs
        Its MACs, for one sample of the full network.
    share
        The same as a share of all MACs, 0 to 1.
    group
        Label of the channel group that it makes (of the first, where it makes several); None where it makes none, because
        its output widths are fixed or it only multiplies what others made.
    """

    layer: str
    macs: int
    share: float
    group: str | None


@dataclass(frozen=True)
class Inspection:
    """
    What a width space is made of. ``print`` shows it as a table; the records fit ``pandas.DataFrame``.

    Parameters
    ----------
    name
        What the model is called.
    inputs
        Shapes of the tensors of the example input: MACs are those of one sample of it.
    groups
        The channel groups, in the order of the network.
    fixed
        What cannot change.
    layers
        The MACs of each layer of the full network, measured; they add up to `macs`.
    macs, params
        Multiply-accumulates for one sample (convolution, linear and matrix products) and parameters of the full network.
    smallest_macs, smallest_params
        The same at the smallest width of every group.
    log10_widths, log10_widths_without_bins
        How many networks the space holds, as powers of ten: with the widths that bins leave, and with all.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    groups: tuple[GroupRecord, ...]
    fixed: tuple[FixedRecord, ...]
    layers: tuple[LayerRecord, ...]
    macs: int
    params: int
    smallest_macs: int
    smallest_params: int
    log10_widths: float
    log10_widths_without_bins: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in the JSON file of ``nni-cafenet inspect``."""
        return asdict(self)

    def to_csv(self) -> str:
        """Return the groups as CSV, one a line; names within a cell stand apart by spaces."""
        return inspection_csv(self)

    def __str__(self) -> str:
        return inspection_text(self)


def inspect_space(space: WidthSpace, name: str | None = None) -> Inspection:
    """
    Look into a width space.

    Parameters
    ----------
    space
        The space. One forward of its full model is run, in evaluation mode; it is left as it was.
    name
        What the model is called; default: its class.

    Returns
    -------
    Inspection
        Records of groups, fixed channels and layers, and the totals.

    Examples
    --------
    >>> found = inspect_space(space)
    >>> print(found)
    >>> pandas.DataFrame(found.groups)
    """
    full, smallest = space.full_widths, space.smallest_widths
    macs = space.macs(full)
    return Inspection(
        name=name or type(space.full_model).__name__,
        inputs=tuple(tuple(tensor.shape) for tensor in space.example_input.tensors()),
        groups=_groups(space, macs),
        fixed=tuple(FixedRecord(record.label, record.width, record.reason) for record in space.graph.fixed),
        layers=_layers(space, macs),
        macs=macs,
        params=space.params(full),
        smallest_macs=space.macs(smallest),
        smallest_params=space.params(smallest),
        log10_widths=sum(math.log10(len(widths)) for widths in space.choices.values()),
        log10_widths_without_bins=sum(math.log10(width) for width in full.values()),
    )


def _groups(space: WidthSpace, macs: int) -> tuple[GroupRecord, ...]:
    number = len(space.groups)
    without = space.graph.full_widths * (1 - np.eye(number, dtype=np.int64))  # row i: group i has no channel
    own = macs - space.graph.cost.macs_of(without)
    return tuple(
        GroupRecord(
            label=group.label,
            width=group.width,
            bin=binned.bin,
            widths=binned.choices,
            macs=int(cost),
            share=_share(int(cost), macs),
            macs_a_channel=group.macs_a_channel,
            made_by=group.producers,
            read_by=group.readers,
            others=group.others,
        )
        for group, binned, cost in zip(space.graph.groups, space.groups, own)
    )


def _layers(space: WidthSpace, macs: int) -> tuple[LayerRecord, ...]:
    counts = layer_macs(space.full_model, space.example_input)
    makes = {layer: group.label for group in reversed(space.graph.groups) for layer in group.producers}
    for name, _ in space.full_model.named_modules():
        if name in makes and name not in counts:
            # It never runs: the module that holds it uses its weights. The last one makes what comes out.
            holder = next((outer for outer in _holders(name) if outer in counts), None)
            if holder is not None:
                makes[holder] = makes[name]
    return tuple(LayerRecord(layer, count, _share(count, macs), makes.get(layer)) for layer, count in counts.items())


def _holders(name: str) -> list[str]:
    """The modules that hold a module, the innermost first: of ``'a.b.c'`` they are ``'a.b'``, ``'a'`` and ``''``."""
    parts = name.split('.')
    return ['.'.join(parts[:end]) for end in range(len(parts) - 1, -1, -1)]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
