"""Short labels of axes: dotted names of modules without what does not distinguish them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ['short_labels']


def short_labels(names: Sequence[str], size: int, reserved: Collection[str] = ()) -> list[str]:
    """Shorten dotted names to ``size`` characters if possible, keeping them distinct and not ``reserved``.

    Names that are short enough stay. Otherwise components that all names with the same beginning share are left out: of
    ``features.3.1.block`` and ``features.4.0.block``, ``'f3.1'`` and ``'f4.0'`` remain, the letter because JavaScript
    sorts integers to the front. Names that are still too long get words as initials (``'l1.0.conv1'``), from the left,
    and finally lose their middle.
    """
    whole = [_readable(name.split('.'), reserved) for name in names]
    told = [_readable(parts, reserved) for parts in _telling(names)]
    for labels in (whole, told, [_initials(each, most=-1) for each in told], [_initials(each) for each in told]):
        if _distinct(labels, reserved) and max(map(len, labels), default=0) <= size:
            return labels
    for room in range(size, max(map(len, told), default=0)):
        labels = [_cut(each, room) for each in told]
        if _distinct(labels, reserved):
            return labels
    return told if _distinct(told, reserved) else whole


def _telling(names: Sequence[str]) -> list[list[str]]:
    """Return the components of each name at which names part ways, after the initial of what precedes a number."""
    following: dict[tuple[str, ...], set[str]] = {}
    for name in names:
        parts = name.split('.')
        for depth in range(len(parts) + 1):  # a name that ends parts ways with those that go on
            following.setdefault(tuple(parts[:depth]), set()).add(parts[depth] if depth < len(parts) else '')
    return [_kept(name.split('.'), following) for name in names]


def _kept(parts: Sequence[str], following: dict[tuple[str, ...], set[str]]) -> list[str]:
    kept = [depth for depth in range(len(parts)) if len(following[tuple(parts[:depth])]) > 1] or [len(parts) - 1]
    shown = [parts[depth] for depth in kept]
    words = [part for part in parts[: kept[0]] if part[:1].isalpha()]
    return [words[-1][0] + shown[0], *shown[1:]] if words and shown[0][:1].isdigit() else shown


def _readable(parts: Sequence[str], reserved: Collection[str]) -> str:
    label = '.'.join(parts)
    if label.isdigit():
        return f'layer {label}'
    return f'{label} width' if label in reserved else label


def _initials(label: str, most: int | None = None) -> str:
    """Replace words by their first letters, in all components or in the first ``most`` ones."""
    parts = label.split('.')
    short = [re.sub('[A-Za-z]+', lambda word: word[0][0], part).replace('_', '') for part in parts[:most]]
    return '.'.join([*short, *parts[len(short) :]])


def _distinct(labels: Sequence[str], reserved: Collection[str]) -> bool:
    return len(set(labels)) == len(labels) and not set(reserved).intersection(labels)


def _cut(name: str, size: int) -> str:
    """Shorten a name to ``size`` characters by omitting its middle."""
    if len(name) <= size:
        return name
    head = (size - 2) // 2
    return f'{name[:head].rstrip(".")}..{name[len(name) - (size - 2 - head) :].lstrip(".")}'
