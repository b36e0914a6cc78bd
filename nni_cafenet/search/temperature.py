"""The temperature of scores, a divisor of the logits."""

from __future__ import annotations

__all__ = ['DEFAULT_TEMPERATURE', 'TEMPERATURES', 'temperatures_with']

DEFAULT_TEMPERATURE = 2.0
"""Default for cross-entropy scores. At 1, a supernet that memorized its training images ranks widths by over-confidence."""

TEMPERATURES = (1.0, 2.0, 3.0)
"""Temperatures at which every score is computed, from one forward."""


def temperatures_with(temperature: float) -> tuple[float, ...]:
    """Return the temperatures at which scores are computed, that of the run first."""
    return (temperature, *(each for each in TEMPERATURES if each != temperature))
