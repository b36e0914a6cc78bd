"""Seeds of traced objects, carried over when a run as trials resumes."""

from __future__ import annotations

import json
from typing import Any

from ..nni_compat import remake, remake_part

__all__ = ['restore_first_seeds']

_SYMBOL, _ARGS = '__symbol__', '__args__'
_SEEDS = {f'path:{made.__module__}.{made.__name__}': at for made, at in ((remake, 1), (remake_part, 2))}
"""Argument position of the seed in the constructor records of `nni_cafenet.traced`."""


def restore_first_seeds(there: str, now: str) -> str:
    """Return ``now``, a serialized context, with the seeds of the run's first start.

    A random split into training and validation data then stays the same. Other differences are found by fingerprints.
    """
    old, new = json.loads(there), json.loads(now)
    _take_seeds(old, new)
    return json.dumps(new)


def _take_seeds(old: Any, new: Any) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        symbol = new.get(_SYMBOL)
        if symbol in _SEEDS and symbol == old.get(_SYMBOL):
            new[_ARGS][_SEEDS[symbol]] = old[_ARGS][_SEEDS[symbol]]
        for key in new:
            _take_seeds(old.get(key), new[key])
    elif isinstance(old, list) and isinstance(new, list):
        for each, other in zip(old, new):
            _take_seeds(each, other)
