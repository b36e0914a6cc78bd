"""The temperature of scores: what the model's logits are divided by while widths are scored."""

from __future__ import annotations

__all__ = ['DEFAULT_TEMPERATURE', 'TEMPERATURES', 'temperatures_with']

DEFAULT_TEMPERATURE = 2.0
"""Of scores that are cross-entropies. At 1, a supernet that knows its training images ranks widths by over-confidence."""

TEMPERATURES = (1.0, 2.0, 3.0)
"""Those that every score is computed at, of the same forward."""


def temperatures_with(temperature: float) -> tuple[float, ...]:
    """Return the temperatures that scores are computed at: a run's own one first."""
    return (temperature, *(each for each in TEMPERATURES if each != temperature))
