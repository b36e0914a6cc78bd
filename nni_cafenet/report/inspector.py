"""Inspection of a width space: groups, fixed channels, and MACs of each layer."""

from __future__ import annotations

import math

import numpy as np

from ..analysis import layer_macs
from ..space import WidthSpace
from .inspection import ChoiceRecord, FixedRecord, GroupRecord, Inspection, LayerRecord

__all__ = ['inspect_space']


def inspect_space(space: WidthSpace, name: str | None = None) -> Inspection:
    """Summarize a width space.

    Parameters
    ----------
    space
        The space. Its full model runs once, in evaluation mode, and is left unchanged.
    name
        Name of the model; default: its class.

    Returns
    -------
    Inspection
        Records of groups, fixed channels and layers, and totals.

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
        log10_widths_without_bins=sum(math.log10(group.full) for group in space.groups),
        choices=_choices(space),
    )


def _choices(space: WidthSpace) -> tuple[ChoiceRecord, ...]:
    if not space.listed:
        return ()
    governed = space.governed
    return tuple(ChoiceRecord(label, values, governed[label]) for label, values in space.choices.items())


def _groups(space: WidthSpace, macs: int) -> tuple[GroupRecord, ...]:
    number = len(space.groups)
    without = space.graph.full_widths * (1 - np.eye(number, dtype=np.int64))  # row i: group i has no channels
    own = macs - space.graph.cost.macs_of(without)
    return tuple(
        GroupRecord(
            label=group.label,
            width=group.width,
            bin=binned.bin,
            widths=binned.choices,
            macs=int(cost),
            share=_share(int(cost), macs),
            macs_per_channel=group.macs_per_channel,
            producers=group.producers,
            consumers=group.consumers,
            others=group.others,
            ordered=group.ordered,
        )
        for group, binned, cost in zip(space.graph.groups, space.groups, own)
    )


def _layers(space: WidthSpace, macs: int) -> tuple[LayerRecord, ...]:
    counts = layer_macs(space.full_model, space.example_input)
    makes = {layer: group.label for group in reversed(space.graph.groups) for layer in group.producers}
    for name, _ in space.full_model.named_modules():
        if name in makes and name not in counts:
            # The module is never called: its container uses its weights. The last one produces the output.
            holder = next((outer for outer in _holders(name) if outer in counts), None)
            if holder is not None:
                makes[holder] = makes[name]
    return tuple(LayerRecord(layer, count, _share(count, macs), makes.get(layer)) for layer, count in counts.items())


def _holders(name: str) -> list[str]:
    """Return the containers of a module, innermost first: ``'a.b'``, ``'a'``, ``''`` for ``'a.b.c'``."""
    parts = name.split('.')
    return ['.'.join(parts[:end]) for end in range(len(parts) - 1, -1, -1)]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
