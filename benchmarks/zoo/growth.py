"""How a time grows with the size of a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ['exponent', 'told']


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of the line through the logarithms: 1 for what grows as the size does."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def told(what: str, sizes: Sequence[float], seconds: Sequence[float]) -> str:
    """Return the points and the exponent in a line, headed by what they are."""
    points = ', '.join(f'{size:,}: {spent:.3f} s' for size, spent in zip(sizes, seconds))
    return f'{what}, exponent {exponent(sizes, seconds):.2f}: {points}'
