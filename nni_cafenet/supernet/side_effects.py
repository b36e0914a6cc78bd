"""Side effects of a training step, to undo those of a losing channel set."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..space import WidthSpace
from ..utils import StatisticsNorm, copy_each, load_random_state, random_state, version_of

__all__ = ['SideEffects']

_PLAIN = (type(None), bool, int, float, str, Tensor, tuple, list, deque, dict, set)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_MISSING = object()


class SideEffects:
    """What a training step may change besides gradients: buffers, states of metrics, attributes, random generators.

    Of the module itself, attributes with plain data are covered: numbers, strings, tensors, and lists, sets and dicts
    of them. Of its submodules, attributes with activations are (tensors with a graph, which would keep the graph of a
    losing channel set alive). Writes into tensors that are not buffers, or into other objects, are not undone.
    ``exclude`` is a submodule that the step does not run.
    """

    def __init__(self, module: nn.Module, *, exclude: nn.Module | None = None) -> None:
        self._module = module
        left_out = set() if exclude is None else set(exclude.modules())
        # found once: walking a large network takes as long as copying its buffers
        self._owners = [owner for owner in module.modules() if owner not in left_out]
        models = [
            owner.full_model for owner in self._owners if isinstance(owner, WidthSpace)
        ]  # not a registered submodule
        self._attribute_owners = [
            each for each in (*self._owners, *models) if not _is_metric(each) and not _is_of_torch(each)
        ]
        self._read()

    def snapshot(self) -> SideEffects:
        """Return the current state of the same modules."""
        other = copy.copy(self)
        other._read()
        return other

    def restore(self) -> None:
        """Restore the state at which this object was made."""
        self._buffers.restore()
        for metric, state in self._metrics:
            for name, value in state.items():
                object.__setattr__(metric, name, _copy(value))
        for attributes in self._attributes:
            attributes.restore()
        load_random_state(self._random)

    def _read(self) -> None:
        self._buffers = _Buffers(self._owners)
        self._metrics = [(owner, _metric_state(owner)) for owner in self._owners if _is_metric(owner)]
        self._attributes = [
            _Attributes(owner, _is_plain if owner is self._module else _has_graph) for owner in self._attribute_owners
        ]
        self._random = random_state()


class _Buffers:
    """The values of buffers.

    Autograd refuses the backward of a graph if a saved buffer was written to since. So only buffers that the step itself
    wrote to are restored. Version counters show which, except for normalizations, which write statistics without counting;
    these are restored without counting too.
    """

    def __init__(self, owners: Iterable[nn.Module]) -> None:
        self._found = [
            (owner, name, buffer) for owner in owners for name, buffer in owner._buffers.items() if buffer is not None
        ]
        self._versions = [version_of(buffer) for _, _, buffer in self._found]
        kinds: dict[Any, list[int]] = {}
        for index, (_, _, buffer) in enumerate(self._found):
            kinds.setdefault((buffer.device, buffer.dtype, buffer.layout), []).append(index)
        with torch.no_grad():
            self._values = [(indices, self._copies(indices)) for indices in kinds.values()]

    def restore(self) -> None:
        written, counted = list[int](), set[int]()
        for index, (owner, name, buffer) in enumerate(self._found):
            owner._buffers[name] = buffer
            if version_of(buffer) != self._versions[index]:
                counted.add(index)
            elif not isinstance(owner, StatisticsNorm):
                continue
            written.append(index)
        if written:
            values = self._each()
            buffers = {index: self._found[index][2] for index in written}
            into = [buffer if index in counted else buffer.data for index, buffer in buffers.items()]
            with torch.no_grad():
                copy_each(into, [values[index] for index in written])
        for index in counted:
            self._versions[index] = version_of(self._found[index][2])

    def _copies(self, indices: list[int]) -> Any:
        """Return copies of buffers of one kind, if possible in a single tensor: one kernel instead of hundreds."""
        buffers = [self._found[index][2] for index in indices]
        if buffers[0].layout != torch.strided:
            return [buffer.clone() for buffer in buffers]
        return torch.cat([buffer if buffer.dim() == 1 else buffer.reshape(-1) for buffer in buffers])

    def _each(self) -> dict[int, Tensor]:
        """Return the copy of each buffer."""
        found: dict[int, Tensor] = {}
        for indices, copies in self._values:
            buffers = [self._found[index][2] for index in indices]
            if isinstance(copies, Tensor):
                copies = copies.split([buffer.numel() for buffer in buffers])
            shaped = [
                each if each.dim() == buffer.dim() else each.view(buffer.shape) for each, buffer in zip(copies, buffers)
            ]
            found.update(zip(indices, shaped))
        return found


class _Attributes:
    """Those attributes of a module whose values match a condition, before or after the step."""

    def __init__(self, owner: nn.Module, matches: Callable[[Any], bool]) -> None:
        self._owner = owner
        self._kind = matches
        self._values = vars(owner).copy()
        self._contents = {name: _contents(value) for name, value in self._values.items() if self._matches(name, value)}

    def restore(self) -> None:
        own, before = vars(self._owner), self._values
        for name, contents in self._contents.items():
            _fill(before[name], contents)
        changed = [name for name, value in own.items() if before.get(name, _MISSING) is not value]
        for name in changed:
            if name in self._contents or self._matches(name, own[name]):
                if name in before:
                    own[name] = before[name]
                else:
                    del own[name]
        for name in self._contents.keys() - own.keys():
            own[name] = before[name]

    def _matches(self, name: str, value: Any) -> bool:
        return self._kind(value) and name not in _OF_EVERY_MODULE


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN)


def _has_graph(value: Any) -> bool:
    return isinstance(value, Tensor) and value.grad_fn is not None


def _contents(value: Any) -> Any:
    """Return the contents of a container, of a dict recursively; None for any other value."""
    if isinstance(value, dict):
        return {key: (item, _contents(item)) for key, item in value.items()}
    return copy.copy(value) if isinstance(value, (list, deque, set)) else None


def _fill(value: Any, contents: Any) -> None:
    """Restore the contents of a container in place, since others may hold it."""
    if contents is None:
        return
    value.clear()
    if isinstance(value, dict):
        for key, (item, inner) in contents.items():
            _fill(item, inner)
            value[key] = item
    elif isinstance(value, set):
        value.update(contents)
    else:
        value.extend(contents)


def _is_metric(module: nn.Module) -> bool:
    return '_defaults' in vars(module)


def _is_of_torch(module: nn.Module) -> bool:
    """Whether a module is one of torch's own, which store no activations."""
    return type(module).__module__.startswith('torch.')


def _metric_state(metric: Any) -> dict[str, Any]:
    """Return the accumulators and caches of a torchmetrics metric."""
    names = [*metric._defaults, '_update_count', '_computed', '_forward_cache', '_update_called']
    return {name: _copy(metric.__dict__[name]) for name in names if name in metric.__dict__}


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return [_copy(item) for item in value] if isinstance(value, list) else value
