"""Operators as plain data (name, sizes, arguments), recorded from a forward."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..graph import ExampleInput

__all__ = ['Operator', 'form', 'recorded_operators', 'sizes', 'tensor_sizes', 'with_sizes']

_TENSOR = '.tensor'  # not a name of a keyword argument
_TORCH = '.torch'
_DEVICE = '.device'

_CACHES = 1 << 22  # elements, 16 MiB of float32
_MOST_COPIES = 16


@dataclass(frozen=True)
class Operator:
    """One call of an operator, without the values of its tensors.

    ``name`` is torch's: ``'aten.convolution.default'``. ``arguments`` are JSON. A tensor is ``{'.tensor': dtype,
    'shape': [...], 'order': '0,1,2,3'}``, with its dimensions from the largest stride to the smallest, and
    ``'expanded'``, those along which it repeats itself.
    """

    name: str
    arguments: str

    def prepared(self, device: torch.device) -> Callable[[], Any]:
        """Return the operator's call, on tensors of ones (zeros if they are not floating-point numbers).

        Calls alternate between copies of the tensors, enough to fill the processor's caches: in a network, weights and
        inputs are not cached either.
        """
        function: Any = torch.ops
        for part in self.name.split('.'):
            function = getattr(function, part)
        arguments = json.loads(self.arguments)
        elements = sum(math.prod(shape) for shape in tensor_sizes(arguments))
        number = min(_MOST_COPIES, max(1, _CACHES // max(1, elements)))
        copies = itertools.cycle([_decoded(arguments, device) for _ in range(number)])

        def call() -> Any:
            args, kwargs = next(copies)
            return function(*args, **kwargs)

        return call

    @property
    def key(self) -> str:
        """The cache key of its time."""
        return f'{self.name} {self.arguments}'


def recorded_operators(model: nn.Module, example: ExampleInput) -> list[Operator]:
    """Run a model and return its operators in order, without views."""
    inputs = example.fresh()
    devices = [tensor.device for tensor in inputs.tensors() if tensor.device.type == 'cuda'][:1]
    with torch.no_grad(), torch.random.fork_rng(devices=devices), _Recorder() as recorder:
        model(*inputs.args, **inputs.kwargs)
    return recorder.operators


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not _is_view(func):
            try:
                arguments = json.dumps(_encoded([list(args), dict(kwargs or {})]))
            except TypeError:  # an argument that is not plain data, such as a random generator
                arguments = ''
            self.operators.append(Operator(str(func), arguments))
        return func(*args, **(kwargs or {}))


def _is_view(function: Any) -> bool:
    """Whether an operator returns a view of an argument and writes nothing."""
    aliases = [result.alias_info for result in function._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


# --- to plain data and back -----------------------------------------------------------------------


def _encoded(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise TypeError(f'a tensor of layout {value.layout} is not plain data')
        strides = value.stride()
        order = sorted(range(value.dim()), key=lambda axis: -strides[axis])
        expanded = [axis for axis in range(value.dim()) if strides[axis] == 0 and value.shape[axis] > 1]
        return {
            _TENSOR: _name(value.dtype),
            'shape': list(value.shape),
            'order': ','.join(map(str, order)),
            'expanded': ','.join(map(str, expanded)),
        }
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    if isinstance(value, dict):
        return {name: _encoded(item) for name, item in value.items()}
    if isinstance(value, torch.device):
        return {_DEVICE: ''}
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return {_TORCH: _name(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f'{type(value).__name__} is not plain data')


def _name(value: Any) -> str:
    return str(value).rpartition('.')[2]


def _decoded(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_decoded(item, device) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return _filled(value, device)
    if _TORCH in value:
        return getattr(torch, value[_TORCH])
    if _DEVICE in value:
        return device
    return {name: _decoded(item, device) for name, item in value.items()}


def _filled(value: dict[str, Any], device: torch.device) -> Tensor:
    dtype = getattr(torch, value[_TENSOR])
    order, expanded = (_axes(value[key]) for key in ('order', 'expanded'))
    kept = [1 if axis in expanded else size for axis, size in enumerate(value['shape'])]
    fill = 1 if dtype.is_floating_point or dtype.is_complex else 0
    dense = torch.full([kept[axis] for axis in order], fill, dtype=dtype, device=device)
    places = [order.index(axis) for axis in range(len(kept))]
    return dense.permute(places).expand(value['shape'])


def _axes(text: str) -> list[int]:
    return [int(axis) for axis in text.split(',')] if text else []


# --- sizes ----------------------------------------------------------------------------------------


def sizes(arguments: Any) -> list[int]:
    """Return every whole number among decoded arguments, in order: the sizes of tensors, and other numbers."""
    return list(_walk(arguments))


def _walk(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


def with_sizes(arguments: Any, numbers: Sequence[int]) -> Any:
    """Return arguments with other whole numbers, in the order of `sizes`."""
    left = iter(numbers)

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: replaced(item) for name, item in value.items()}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        return next(left) if isinstance(value, int) and not isinstance(value, bool) else value

    return replaced(arguments)


def tensor_sizes(arguments: Any) -> list[list[int]]:
    """Return the shapes of the tensors among arguments, in order."""
    if isinstance(arguments, dict) and _TENSOR in arguments:
        return [arguments['shape']]
    items = list(arguments.values()) if isinstance(arguments, dict) else arguments
    return [shape for item in items for shape in tensor_sizes(item)] if isinstance(items, list) else []


def form(arguments: Any) -> str:
    """Return the part of the arguments that is the same at every width, as text: all but numbers and the order of strides.

    Fractions may follow widths, too (attention is scaled by the width of its heads); they take no time.
    """

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: '' if name in ('order', 'expanded') else bare(item) for name, item in value.items()}
        if isinstance(value, list):
            return [bare(item) for item in value]
        return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    return json.dumps(bare(arguments))
