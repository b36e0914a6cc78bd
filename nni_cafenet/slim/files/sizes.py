"""Attributes that follow widths: integers of modules, alone or in containers, checked and set."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ['SIZES', 'contained_sizes', 'may_follow_width', 'size_attributes']

SIZES = (
    *('in_channels', 'out_channels', 'groups', 'in_features', 'out_features', 'in1_features', 'in2_features'),
    *('num_features', 'num_channels', 'num_groups', 'normalized_shape', 'num_embeddings', 'embedding_dim'),
    *('num_parameters', 'embed_dim', 'kdim', 'vdim', 'num_heads', 'head_dim', 'input_size', 'hidden_size', 'proj_size'),
    'unflattened_size',
)
"""Attributes of torch's own modules that may depend on widths."""

_OF_EVERY_MODULE = frozenset(vars(nn.Module())) | frozenset(dir(nn.Module))


def size_attributes(
    model: nn.Module, record: Mapping[str, Any], state: Mapping[str, Any], *, change: bool
) -> Iterator[str]:
    """Yield recorded integers that no slim model of this one can have; or, with ``change``, set them."""
    modules, own = dict(model.named_modules()), model.state_dict()
    dims = {size for tensor in own.values() if isinstance(tensor, torch.Tensor) for size in tensor.shape}
    shapes = [
        pair
        for name, tensor in own.items()
        if isinstance(tensor, torch.Tensor) and isinstance(state.get(name), torch.Tensor)
        for pair in zip(tensor.shape, state[name].shape)
    ]
    for path, sizes in record['modules'].items():
        module = modules.get(path)
        for key, value in sizes.items() if module is not None else ():
            now = vars(module).get(key)
            if key.startswith('_') and may_follow_width(module, key) and not _follows(now, value, shapes):
                continue  # not a width, such as a private counter
            if change and isinstance(value, list):
                vars(module)[key] = (
                    torch.Size(value) if isinstance(now, torch.Size) else tuple(value) if type(now) is tuple else value
                )
            elif change and type(now) is int:
                vars(module)[key] = value
            elif not change and not _is_valid_slim_value(module, key, now, value, dims):
                yield f'{path}.{key} is {value!r} in the files and {now!r} in the model'


def contained_sizes(model: nn.Module, record: Mapping[str, Any], *, change: bool) -> Iterator[str]:
    """Do as `size_attributes` for integers in dicts, dataclasses and other containers; changed ones become copies."""
    modules = dict(model.named_modules())
    dims = {size for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor) for size in tensor.shape}
    for path, numbers in record.get('contained', {}).items():
        module = modules.get(path)
        for name, *keys, value in numbers:
            if module is None or name.startswith('_') or name not in vars(module):
                continue
            now = _at(vars(module)[name], keys)
            if type(now) is int if type(value) is int else type(now) in (tuple, list, torch.Size):
                if change:
                    number = value if type(value) is int else type(now)(value)
                    if now != number:
                        module.__dict__[name] = _replaced(vars(module)[name], keys, number)
                elif not _is_valid_slim_value(module, name, now, value, dims):
                    where = ''.join(f'[{key!r}]' for key in keys)
                    yield f'{path}.{name}{where} is {value!r} in the files and {now!r} in the model'


def _at(value: Any, keys: list[Any]) -> Any:
    """Return what keys of dicts, positions of sequences and names of fields lead to; None if there is nothing."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, (tuple, list)):
            value = value[key] if type(key) is int and 0 <= key < len(value) else None
        elif isinstance(value, (type, nn.Module)) or key not in {
            **getattr(value, '__dataclass_fields__', {}),
            **_own(value),
        }:
            return None
        else:
            value = getattr(value, key, None)
    return value


def _own(value: Any) -> dict[str, Any]:
    own = getattr(value, '__dict__', None)
    return own if isinstance(own, dict) else {}


def _replaced(value: Any, keys: list[Any], new: Any) -> Any:
    """Return a value with what keys lead to replaced; containers on the way are copied."""
    if not keys:
        return new
    after = _replaced(_at(value, keys[:1]), keys[1:], new)
    if isinstance(value, (tuple, list)):
        items = [after if position == keys[0] else item for position, item in enumerate(value)]
        return value._make(items) if hasattr(value, '_make') else type(value)(items)
    copied: Any = copy.copy(value)
    if isinstance(copied, dict):
        copied[keys[0]] = after
    else:
        object.__setattr__(copied, keys[0], after)
    return copied


def _is_valid_slim_value(module: Any, key: str, now: Any, value: Any, dims: set[int]) -> bool:
    """Whether an integer of the full model may have ``value`` in a slim one."""
    numbers, others = (list(each) if isinstance(each, (tuple, list)) else [each] for each in (now, value))
    if not may_follow_width(module, key) or {type(each) for each in numbers + others} != {int}:
        return False
    of_torch = type(module).__module__.startswith('torch.')
    if type(now) in (tuple, list) and not of_torch and _may_be_positions(numbers, others):
        return True
    if len(numbers) != len(others):
        return False
    if numbers == others:
        return True
    if of_torch and key not in SIZES:
        return False
    # Sizes never grow; integers that are not sizes, such as counters, may.
    sizes = dims if not of_torch else {*dims, *numbers}
    return all(new == old or 0 < new <= old or (old not in sizes and new >= 0) for old, new in zip(numbers, others))


def _may_be_positions(numbers: list[int], others: list[int]) -> bool:
    """Whether numbers may be positions of channels, and others what is left of them, counted anew."""
    fewer = 0 < len(others) <= len(numbers) and (len(set(numbers)) < len(numbers) or len(set(others)) == len(others))
    return fewer and min(numbers) >= 0 and min(others) >= 0 and max(others) <= max(numbers)


def may_follow_width(module: Any, key: str) -> bool:
    """Whether an attribute may depend on widths; private ones only in the user's classes."""
    if not key.startswith('_'):
        return True
    private = not key.startswith('__') and 'hook' not in key and key not in _OF_EVERY_MODULE
    return private and not type(module).__module__.startswith('torch.') and not hasattr(type(module), key)


def _follows(now: Any, value: Any, shapes: list[tuple[int, int]]) -> bool:
    """Whether integers scale as the size of some dimension, or a fraction of it."""
    numbers, others = (list(each) if type(each) in (tuple, list) else [each] for each in (now, value))
    if len(numbers) != len(others) or {type(each) for each in numbers + others} != {int}:
        return False
    return all(
        new == old or (0 < new < old and any(full % old == 0 and full * new == small * old for full, small in shapes))
        for old, new in zip(numbers, others)
    )
