"""Validation of widths and channel sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ['as_rows', 'check_array', 'check_channel_sets', 'check_labels', 'check_widths']


def check_widths(
    widths: Mapping[str, int], full: Mapping[str, int], least: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return validated widths in group order.

    Raises ValueError if a label is unknown or missing, or a width is not a whole number from the least width (default: 1)
    to the full one.
    """
    check_labels(widths, full)
    for label, width in widths.items():
        smallest = 1 if least is None else least[label]
        if not _is_whole(width) or not smallest <= width <= full[label]:
            raise ValueError(
                f'widths[{label!r}]={width!r} must be a whole number from {smallest} to {full[label]}{_why(smallest)}.'
            )
    return {label: int(widths[label]) for label in full}


def check_labels(widths: Mapping[str, int], full: Mapping[str, int]) -> None:
    """Raise ValueError if a label is unknown or missing, TypeError if widths are no mapping."""
    if not isinstance(widths, Mapping):
        raise TypeError(f'widths={widths!r} must be {{label: channels}}, such as space.full_widths.')
    unknown = [label for label in widths if label not in full]
    missing = [label for label in full if label not in widths]
    if unknown or missing:
        what = f'has the unknown label {unknown[0]!r}' if unknown else f'lacks the label {missing[0]!r}'
        raise ValueError(f'widths {what}. Give one width for each of the {len(full)} labels in space.labels.')


def check_channel_sets(
    channel_sets: Mapping[str, Any], widths: Mapping[str, int], full: Mapping[str, int]
) -> dict[str, NDArray[np.int64]]:
    """Return validated channel sets of some or all groups as arrays.

    Raises ValueError if a label is unknown, or a set is not as many ascending indices of channels as its width.
    """
    sets = {}
    for label, channels in channel_sets.items():
        if label not in widths:
            raise ValueError(f'channel_sets has the unknown label {label!r}. Labels are in space.labels.')
        indices = np.asarray(channels.cpu() if isinstance(channels, Tensor) else channels)
        ascending = indices.ndim == 1 and indices.dtype.kind in 'iu' and bool((indices[1:] > indices[:-1]).all())
        if not ascending or len(indices) != widths[label] or indices[0] < 0 or indices[-1] >= full[label]:
            raise ValueError(
                f'channel_sets[{label!r}] must be {widths[label]} ascending channel indices below {full[label]}, '
                f'got {indices.tolist()}.'
            )
        sets[label] = indices.astype(np.int64)
    return sets


def _why(smallest: int) -> str:
    return '' if smallest == 1 else '; the model does not run with fewer channels there'


def check_array(widths: Any, full: Mapping[str, int], least: Mapping[str, int] | None = None) -> NDArray[np.int64]:
    """Return a validated int64 array of widths, one row per network, columns in group order.

    Raises ValueError if its shape is wrong, a value is not a whole number, or a width is not from the least width (default:
    1) to the full one.
    """
    array = as_rows(widths, len(full))
    if array.dtype.kind == 'f' and bool((array == np.rint(array)).all()):
        array = array.astype(np.int64)
    if array.dtype.kind not in 'iu' and array.size:
        raise ValueError(f'widths has values of type {array.dtype}; they must be whole numbers.')
    most = np.fromiter(full.values(), dtype=np.int64, count=len(full))
    smallest = np.fromiter((least or dict.fromkeys(full, 1)).values(), dtype=np.int64, count=len(full))
    wrong = (array < smallest) | (array > most)
    if bool(wrong.any()):
        row, column = (int(index) for index in np.argwhere(wrong)[0])
        label = list(full)[column]
        raise ValueError(
            f'widths[{row}] has {array[row, column]} for {label!r}; it must be a whole number from '
            f'{smallest[column]} to {full[label]}{_why(int(smallest[column]))}.'
        )
    return array.astype(np.int64)


def as_rows(widths: Any, columns: int) -> NDArray[Any]:
    """Return an array with one row per network; a ValueError if its shape is another one."""
    try:
        array = np.asarray(widths.cpu() if isinstance(widths, Tensor) else widths)
    except ValueError:  # rows of several lengths
        array = np.empty(0, dtype=object)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(
            f'widths has the shape {array.shape}; it must be (N, {columns}), a column for each label in space.labels, '
            'or {label: width}.'
        )
    return array


def _is_whole(number: Any) -> bool:
    if type(number) is int:
        return True
    return isinstance(number, (int, float, np.integer)) and not isinstance(number, bool) and number % 1 == 0
