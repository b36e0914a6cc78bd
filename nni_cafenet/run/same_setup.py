"""Whether what a run is resumed with is what it was started with: the texts that trials make their objects of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import nni
import torch

from ..errors import ResumeError, shortened
from ..travel.kept import Kept
from ..travel.recipes import remake, remake_part

__all__ = ['same_setup']

_SYMBOL, _ARGS, _KWARGS, _TYPE, _PICKLED = '__symbol__', '__args__', '__kwargs__', '__nni_type__', '__nni_obj__'
_SEEDS = {f'path:{made.__module__}.{made.__name__}': at for made, at in ((remake, 1), (remake_part, 2))}
"""Where the seed stands among the arguments of what `nni_cafenet.traced` made."""

_PLAIN = (type(None), bool, int, float, str, bytes, torch.dtype, torch.device)


def same_setup(there: str, now: str, where: str) -> str:
    """Return what trials of a resumed run make their objects of.

    Parameters
    ----------
    there, now
        What `RunSetup.dump` returned when the run was started, and what it returns now.
    where
        The folder of the run.

    Returns
    -------
    ``now``, with the seeds that traced objects were made with when the run was started: a split into training and
    validation data that is drawn at random is the same one. Pickled objects are taken as they are now, since their bytes
    and the code in them may differ between two processes; they are compared only where they hold plain data.

    Raises
    ------
    nni_cafenet.errors.ResumeError
        If anything else differs; the message lists it.
    """
    old, new = json.loads(there), json.loads(now)
    different = [f'{path}: {_short(a)} there, {_short(b)} now' for path, a, b in _differences('', old, new)]
    if different:
        raise ResumeError(
            f'directory={where!r} holds another run ({"; ".join(different)}). Use the model, the evaluator and the data of '
            'that run to resume it, or another directory.'
        )
    return json.dumps(new)


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs, and give what is new the seeds of what is old."""
    if isinstance(old, dict) and isinstance(new, dict):
        symbol = new.get(_SYMBOL)
        if symbol in _SEEDS and symbol == old.get(_SYMBOL):
            new[_ARGS][_SEEDS[symbol]] = old[_ARGS][_SEEDS[symbol]]
        if _is_pickled(old) and _is_pickled(new):
            yield from _pickled_differences(path, old, new)
            return
        for key in {**old, **new}:
            yield from _differences(_join(path, key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new)):
            yield from _differences(f'{path}[{index}]', a, b)
    elif old != new and not (_is_code(old) and _is_code(new)):
        yield path, old, new


def _is_pickled(part: dict[str, Any]) -> bool:
    return _PICKLED in part or ('pickle' in part and str(part.get('__instance_type__')).endswith(f'.{Kept.__name__}'))


def _is_code(part: Any) -> bool:
    """Whether it is a class or function of a script, which is sent with its code."""
    return isinstance(part, str) and part.startswith('bytes:')


def _pickled_differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    try:
        values = [nni.load(json.dumps(part)) for part in (old, new)]
    except Exception:  # noqa: BLE001  whatever unpickling raises, such as for a class that has another name now
        return
    a, b = (value.value if isinstance(value, Kept) else value for value in values)
    if _is_plain(a) and _is_plain(b) and a != b:
        yield path, repr(a), repr(b)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _join(path: str, key: str) -> str:
    if key.strip('_') in ('symbol', 'args', 'kwargs', 'nni_type'):
        return path
    return f'{path}.{key}' if path else key


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get(_TYPE, value.get(_SYMBOL, value))
    text = value if isinstance(value, str) else json.dumps(value)
    return shortened(text.replace('path:', '', 1))
