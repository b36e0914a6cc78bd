"""Settings of publications, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options import choice
from ..search import Evolution
from ..supernet import LocallyFree, UniformWidths

__all__ = ['PRESETS', 'with_preset']

PRESETS: Mapping[str, Mapping[str, Any]] = {
    'paper': {  # Su et al. 2021; BCNetV2 and the same authors' code where the paper leaves a value open
        'sharing': LocallyFree(offset=1),
        'width_sampling': UniformWidths(),
        'search': Evolution(population=50, generations=20),
        'temperature': 1.0,
        'channel_sets_per_score': 2,
    },
}
"""Options of `CafeNet`, by the name of a preset; those that it does not have are the paper's by default."""


def with_preset(name: str | None, **given: Any) -> dict[str, Any]:
    """Return options in which those that were left open (None) are those of a preset."""
    choice(*PRESETS).or_none().check('preset', name)
    preset = {} if name is None else PRESETS[name]
    return {option: preset.get(option) if value is None else value for option, value in given.items()}
