"""The temperature of scores: what the model's logits are divided by while widths are scored."""

from __future__ import annotations

import math

__all__ = ['DEFAULT_TEMPERATURE', 'TEMPERATURES', 'check_temperature', 'temperatures_with']

DEFAULT_TEMPERATURE = 2.0
"""Of scores that are cross-entropies. At 1, a supernet that knows its training images ranks widths by over-confidence."""

TEMPERATURES = (1.0, 2.0, 3.0)
"""Those that every score is computed at, of the same forward."""


def check_temperature(value: object) -> float | None:
    """Return the option as a float, or None; a ValueError that says what is allowed otherwise."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return float(value)
    raise ValueError(f'temperature={value!r} must be a number above 0, or None.')


def temperatures_with(temperature: float) -> tuple[float, ...]:
    """Return the temperatures that scores are computed at: a run's own one first."""
    return (temperature, *(each for each in TEMPERATURES if each != temperature))
