"""Rebind closures in copied models: ``deepcopy`` does not copy functions, so wrapped forwards would call the original."""

from __future__ import annotations

import copy
import types
from typing import Any

from torch import nn

__all__ = ['rebind_closures']


def rebind_closures(model: nn.Module, memo: dict[int, Any]) -> None:
    """Rebind closures of a copied model's functions and hooks to the copied modules, in place.

    ``memo`` is the memo of ``copy.deepcopy``: ``{id of the original: copy}``.
    """
    copies = {id(module) for module in model.modules()}
    for module in model.modules():
        attributes = vars(module)
        for name, value in attributes.items():
            if isinstance(value, types.FunctionType):
                attributes[name] = _rebound(value, memo, copies)
            elif isinstance(value, dict) and name.endswith('_hooks'):
                value.update((key, _rebound(hook, memo, copies)) for key, hook in list(value.items()))


def _rebound(function: Any, memo: dict[int, Any], copies: set[int], depth: int = 0) -> Any:
    """Return the function with modules in its closure replaced by their copies."""
    if not isinstance(function, types.FunctionType) or not function.__closure__ or depth > 8:
        return function
    cells = []
    for cell in function.__closure__:
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            cells.append(cell)
            continue
        new = _rebound(value, memo, copies, depth + 1)
        owner = value.__self__ if isinstance(value, types.MethodType) else value
        if isinstance(owner, nn.Module) and id(memo.get(id(owner))) in copies:
            new = copy.deepcopy(value, memo)
        cells.append(cell if new is value else types.CellType(new))
    if all(new is old for new, old in zip(cells, function.__closure__)):
        return function
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, None, tuple(cells))
    made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    made.__dict__.update(function.__dict__)
    return made
