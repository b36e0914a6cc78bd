"""The temperature of scores, a divisor of the logits."""

from __future__ import annotations

__all__ = ['DEFAULT_TEMPERATURE', 'TEMPERATURES', 'temperatures_with']

DEFAULT_TEMPERATURE = 2.0
"""Of scores that are cross-entropies. At 1, a supernet that knows its training images ranks widths by over-confidence."""

TEMPERATURES = (1.0, 2.0, 3.0)
"""Temperatures at which every score is computed, from one forward."""


def temperatures_with(temperature: float) -> tuple[float, ...]:
    """Return the temperatures that scores are computed at: a run's own one first."""
    return (temperature, *(each for each in TEMPERATURES if each != temperature))
