"""A resumed run as trials works on the data that it was started with: with the seeds that they were drawn by."""

from __future__ import annotations

import json
from typing import Any

from ..nni_compat import remake, remake_part

__all__ = ['with_first_seeds']

_SYMBOL, _ARGS = '__symbol__', '__args__'
_SEEDS = {f'path:{made.__module__}.{made.__name__}': at for made, at in ((remake, 1), (remake_part, 2))}
"""Where the seed stands among the arguments of what `nni_cafenet.traced` made."""


def with_first_seeds(there: str, now: str) -> str:
    """Return what trials of a resumed run make their objects of.

    Parameters
    ----------
    there, now
        What `StageContext.dump` returned when the run was started, and what it returns now.

    Returns
    -------
    ``now``, with the seeds that traced objects were made with when the run was started: a split into training and
    validation data that is drawn at random is the same one. Whether anything else differs, the records of the run say.
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
