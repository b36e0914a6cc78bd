"""The values of index tensors that depend on no input, and the attributes of modules that hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ..rules import ConstantIndex

__all__ = ['ConstantIndices', 'index_source']

_aten = torch.ops.aten

_SAME_VALUES = frozenset(
    getattr(_aten, name)
    for name in 'view reshape expand expand_as unsqueeze to _to_copy contiguous clone detach detach_ alias lift_fresh '
    'lift_fresh_copy type_as'.split()
)
"""Operators that keep the values of an index, apart from repeats."""

_MOST = 10**8
"""Elements of the largest tensor that is computed."""


class ConstantIndices:
    """Computes what the nodes of a graph hold where that depends on buffers and constants alone.

    Parameters
    ----------
    module
        What the nodes of a graph from ``torch.export`` refer to.
    tensors
        ``{placeholder: name of the parameter or buffer}``.
    constants
        ``{placeholder: tensor}``.
    model
        The model.
    """

    def __init__(
        self, module: object, tensors: Mapping[str, str], constants: Mapping[str, Tensor], model: nn.Module
    ) -> None:
        self._module = module
        self._tensors = tensors
        self._constants = constants
        self._model = model
        self._buffers = dict(model.named_buffers(remove_duplicate=False))
        self._found: dict[fx.Node, Tensor | None] = {}

    def of(self, node: fx.Node, axis: int) -> ConstantIndex | None:
        """Return the positions that a node holds along one axis; None if they are unknown, or others elsewhere."""
        value = self._value(node)
        if value is None or value.dtype not in (torch.int64, torch.int32, torch.uint8, torch.int16, torch.int8):
            return None
        rows = value.movedim(axis, 0).reshape(value.shape[axis], -1) if value.dim() > 1 else value[:, None]
        if value.dtype is torch.uint8 or not rows.numel() or not bool((rows == rows[:, :1]).all()):
            return None
        values = tuple(rows[:, 0].tolist())
        source = index_source(node)
        given = source.op != 'call_function' or 'held' in source.meta
        holders = tuple(self._holders(source, values)) if given else ()
        computed = not holders and any(source.op == 'placeholder' for source in _sources(node))
        return ConstantIndex(np.array(values, dtype=np.int64), holders, computed)

    def _holders(self, source: fx.Node, values: tuple[int, ...]) -> Iterator[tuple[str, str]]:
        """Yield the attributes that hold what a node stands for, and the same values."""
        name = self._tensors.get(source.name)
        if name in self._buffers:
            module, _, leaf = name.rpartition('.')
            if self._buffers[name].dim() == 1:
                yield module, leaf
            return
        equal = [
            (path, leaf, value)
            for path, module in self._model.named_modules()
            for leaf, value in vars(module).items()
            if _holds(value, values)
        ]
        held = source.meta.get('held', source.meta.get('val'))
        same = [(path, leaf) for path, leaf, value in equal if value is held]
        yield from same or ([(path, leaf) for path, leaf, _ in equal] if len(equal) == 1 else [])

    def _value(self, node: fx.Node) -> Tensor | None:
        if node not in self._found:
            self._found[node] = None
            if 'held' in node.meta:
                self._found[node] = torch.tensor(node.meta['held'])
            else:
                self._found[node] = self._given(node) if node.op != 'call_function' else self._computed(node)
        return self._found[node]

    def _given(self, node: fx.Node) -> Tensor | None:
        name = self._tensors.get(node.name)
        value: Any = self._buffers.get(name) if name is not None else self._constants.get(node.name)
        if value is None and node.op == 'get_attr':
            value = getattr(self._module, str(node.target), node.meta.get('val'))
        known = type(value) in (Tensor, nn.Parameter) or type(value) is getattr(nn, 'Buffer', Tensor)
        return value.detach().cpu() if known and not value.is_meta else None

    def _computed(self, node: fx.Node) -> Tensor | None:
        function: Any = node.target
        schema = getattr(function, '_schema', None)
        shape = getattr(node.meta.get('val'), 'shape', None)
        if schema is None or shape is None or math.prod(shape) > _MOST:
            return None
        if function.overloadpacket in (_aten.detach_, _aten.lift_fresh):
            function = _aten.detach.default
        elif schema.is_mutable or torch.Tag.nondeterministic_seeded in function.tags:
            return None
        if any(getattr(getattr(user.target, '_schema', None), 'is_mutable', False) for user in node.users):
            return None
        known = {source: self._value(source) for source in node.all_input_nodes}
        if any(value is None for value in known.values()):
            return None
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: known[source])
        try:
            with torch.no_grad():
                return function(*_on_cpu(args), **_on_cpu(kwargs))
        except Exception:  # noqa: BLE001 - an operator that does not run on the CPU
            return None


def index_source(node: fx.Node) -> fx.Node:
    """Return the node that an index comes from unchanged, apart from its shape."""
    while 'held' not in node.meta and getattr(node.target, 'overloadpacket', None) in _SAME_VALUES:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _holds(value: Any, numbers: tuple[int, ...]) -> bool:
    """Whether a list, an array or a tensor of one dimension holds these whole numbers."""
    if isinstance(value, Tensor):
        known = value.dim() == 1 and not (value.is_meta or value.is_floating_point() or value.is_complex())
        return known and len(value) == len(numbers) and value.tolist() == list(numbers)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in 'iu' and value.shape == (len(numbers),) and bool((value == numbers).all())
    if not isinstance(value, (list, tuple)) or len(value) != len(numbers):
        return False
    return all(isinstance(one, (int, np.integer)) and one == other for one, other in zip(value, numbers))


def _on_cpu(values: Any) -> Any:
    return pytree.tree_map(lambda value: torch.device('cpu') if isinstance(value, torch.device) else value, values)


def _sources(node: fx.Node) -> Iterator[fx.Node]:
    """Yield the nodes without inputs that a node is computed from."""
    pending, seen = [node], {node}
    while pending:
        each = pending.pop()
        if not each.all_input_nodes:
            yield each
        pending += [source for source in each.all_input_nodes if source not in seen]
        seen.update(each.all_input_nodes)
