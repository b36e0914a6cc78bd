"""Reading data ahead of a training without a trace: random generators and persistent workers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..utils import restart_workers

__all__ = ['preserved_data_state']

_MOST = 2000
_PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.Tensor, np.ndarray, type, ModuleType)


@contextlib.contextmanager
def preserved_data_state(*data: Any) -> Iterator[None]:
    """Restore, after a block that reads loaders or data modules, the state that reading changes.

    Generators of numpy, torch and Python in attributes of loaders, samplers, data sets and transforms get their states
    back. Loaders with persistent workers start new ones afterwards: Lightning ends those that it has used.
    """
    found = list(_objects_in(data))
    states = [_state_of(each) for each in found]
    try:
        yield
    finally:
        for each, state in zip(found, states):
            if state is not None:
                _put_state(each, state)
        restart_workers(*(each for each in found if isinstance(each, DataLoader)))


def _objects_in(root: Any) -> Iterator[Any]:
    """Yield the objects within attributes and containers, each once; not those within tensors."""
    seen, pending = set[int](), [root]
    while pending and len(seen) < _MOST:
        each = pending.pop(0)
        if isinstance(each, _PLAIN) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, (torch.nn.Module, torch.Generator, np.random.Generator, random.Random)):
            continue
        if isinstance(each, Mapping):
            pending += each.values()
        elif isinstance(each, (list, tuple)):
            pending += each[:50]  # in a list of samples, the first ones show whether they hold generators
        else:
            pending += getattr(each, '__dict__', {}).values()


def _state_of(each: Any) -> Any:
    if isinstance(each, torch.Generator):
        return each.get_state()
    if isinstance(each, np.random.Generator):
        return each.bit_generator.state
    if isinstance(each, np.random.RandomState):
        return each.get_state()
    return each.getstate() if isinstance(each, random.Random) else None


def _put_state(each: Any, state: Any) -> None:
    if isinstance(each, np.random.Generator):
        each.bit_generator.state = state
    elif isinstance(each, (torch.Generator, np.random.RandomState)):
        each.set_state(state)
    else:
        each.setstate(state)
