"""The identity of a space, stored in its latency table."""

from __future__ import annotations

from typing import Any

from ..space import WidthSpace

__all__ = ['identity']


def identity(space: WidthSpace) -> dict[str, Any]:
    """Return the properties that identify a space, as JSON values."""
    kind = next((p.dtype for p in space.full_model.parameters() if p.is_floating_point()), None)
    return {
        'macs': int(space.macs(space.full_widths)),
        'params': int(space.params(space.full_widths)),
        'input': space.example_input.describe(),
        'dtype': str(kind).rpartition('.')[2],
        'full': dict(space.full_widths),
        'smallest': dict(space.smallest_widths),
    }
