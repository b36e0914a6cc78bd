"""Which part of a checkpoint has the weights of a model: the key of a dict, and the prefix of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ['Weights', 'weights_in', 'without_prefix']

_KEYS = (
    *('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema'),  # what trainers validate, if they have it
    *('state_dict', 'model_state_dict', 'model', 'net', 'network', 'module', 'params'),
)
_PREFIXES = ('module', '_orig_mod', 'model', 'net', 'network')


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and a line for the user on which of several in a file they are; empty if there is no choice."""

    state: dict[str, Tensor]
    note: str = ''


def weights_in(found: Any, name: str, key: str | None = None) -> Weights | None:
    """Return the tensors in what a file holds; None if there are none.

    They are the file itself, or under one of the keys that trainers use, the moving average (``ema``, ``model_ema``,
    ``state_dict_ema``) before the weights that it averages; ``key`` names another one, with dots for a key in a key. A key
    that is not there, or has no tensors, is a WeightsError.
    """
    parts = dict(_parts(found))
    if key is not None:
        under = {
            each.removeprefix(f'{key}.'): value
            for part in parts.values()
            for each, value in part.items()
            if each.startswith(f'{key}.')
        }
        if key not in parts and under:
            return Weights(under, f'taken: {key!r}')
        if key not in parts:
            there = ', '.join(map(repr, filter(None, parts))) or 'none'
            raise WeightsError(
                f'weights {name!r}: --weights-key {key!r} holds no tensors by name; keys that do: {there}'
            )
        return Weights(parts[key], f'taken: {key!r}')
    if not parts:
        return None
    taken = min(parts, key=_rank)
    others = [each for each in parts if each != taken]
    note = f'taken: {taken!r}; there are also {", ".join(map(repr, others))} (--weights-key)' if others else ''
    return Weights(parts[taken], note)


def _rank(key: str) -> tuple[int, ...]:
    return tuple(_KEYS.index(each) if each in _KEYS else len(_KEYS) for each in key.split('.'))


def _parts(found: Any, path: str = '') -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield ``(dotted key, tensors)`` of every dict of tensors, and of every module's."""
    import torch

    if isinstance(found, torch.nn.Module):
        found = found.state_dict()
    if not isinstance(found, Mapping) or not found or not all(isinstance(key, str) for key in found):
        return
    if all(isinstance(value, torch.Tensor) for value in found.values()):
        if not path or path.rpartition('.')[2] in _KEYS or any('.' in key for key in found):
            yield path, dict(found)
        return
    for key, value in found.items():
        if key in _KEYS or isinstance(value, torch.nn.Module):
            yield from _parts(value, f'{path}.{key}' if path else key)


def without_prefix(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str
) -> tuple[Mapping[str, Tensor], list[str]]:
    """Return the tensors under the prefix at which a model's own names are found, and the names of all others.

    Prefixes may be several, such as ``model.`` (Lightning), ``_orig_mod.`` (`torch.compile`) and ``module.`` (data
    parallelism). Tensors under others (a loss, a teacher, metrics) are left out. Without a prefix, all are returned. If the
    model fits under several prefixes, none of which is usual, a WeightsError lists them.
    """
    wanted = {key: tensor.shape for key, tensor in own.items() if not key.endswith('num_batches_tracked')}
    if not wanted or any(key in wanted for key in state):
        return state, []
    first = next(iter(wanted))
    prefixes = sorted({key.removesuffix(first) for key in state if key.endswith(f'.{first}')}, key=_length)
    usual = [prefix for prefix in prefixes if _is_usual(prefix)]
    whole = [
        prefix
        for prefix in prefixes
        if all(f'{prefix}{key}' in state and state[f'{prefix}{key}'].shape == shape for key, shape in wanted.items())
    ]
    found = [prefix for prefix in usual if prefix in whole] or whole or usual
    if not found:
        return state, []
    if not _is_usual(found[0]) and len(found) > 1:
        keys = ' or '.join(prefix.rstrip('.') for prefix in found)
        raise WeightsError(
            f'weights {name!r}: the model fits several parts of the file; choose one: --weights-key {keys}'
        )
    taken = {key.removeprefix(found[0]): value for key, value in state.items() if key.startswith(found[0])}
    return taken, [key for key in state if not key.startswith(found[0])]


def _is_usual(prefix: str) -> bool:
    return all(word in _PREFIXES for word in prefix.split('.')[:-1])


def _length(prefix: str) -> tuple[int, int, str]:
    words = prefix.split('.')[:-1]
    return (
        len(words),
        min((_PREFIXES.index(word) for word in words if word in _PREFIXES), default=len(_PREFIXES)),
        prefix,
    )
