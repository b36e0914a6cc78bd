"""The space of a job."""

from __future__ import annotations

from typing import Any

from ...space import parse_bins
from ..config import Configuration

__all__ = ['space_options']


def space_options(configuration: Configuration) -> dict[str, Any]:
    """Return the options of `nni_cafenet.WidthMutator`."""
    return {
        'bins': parse_bins(str(configuration['space.bins'])),
        'include': configuration['space.include'],
        'exclude': configuration['space.exclude'],
        'outputs': configuration['space.outputs'],
        'min_ratio': configuration['space.min_ratio'],
        'divisor': configuration['space.divisor'],
    }
