"""The identity of a space, stored in its latency table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..space import WidthSpace

__all__ = ['differences', 'identity']


def identity(space: WidthSpace) -> dict[str, Any]:
    """Return the properties that identify a space, as JSON values."""
    kind = next((p.dtype for p in space.full_model.parameters() if p.is_floating_point()), None)
    return {
        'macs': int(space.macs(space.full_widths)),
        'params': int(space.params(space.full_widths)),
        'input': space.example_input.describe(),
        'dtype': str(kind).rpartition('.')[2],
        'full': {group.label: group.full for group in space.groups},
        'smallest': {group.label: group.choices[0] for group in space.groups},
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between the space of a table and this one, in words."""
    for key, name in {'macs': 'MACs', 'params': 'parameters', 'input': 'input', 'dtype': 'dtype'}.items():
        if there[key] != here[key]:
            yield f'{name}: {there[key]} there, {here[key]} here'
    if list(there['full'].items()) != list(here['full'].items()):
        yield f'channel groups: {len(there["full"])} there, {len(here["full"])} here, not all equal'
    else:
        below = [label for label, width in here['smallest'].items() if width < there['smallest'][label]]
        for label in below[:1]:
            yield f'smallest width of {label!r}: {there["smallest"][label]} there, {here["smallest"][label]} here'
