"""Modules that are not followed inside: one opaque operator replaces each while the model is traced.

A module is opaque if its class is registered with a rule (`register_layer`), which states how channels pass through, or if
it is excluded and cannot be exported: its inputs, its outputs and everything inside keep their widths. Real forwards run
the real module.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import first_line
from ...graph import ExampleInput
from ...utils import pass_on
from ..model_state import untouched
from ..rules import Call, Dims, LayerCall, Rule, find_layer, own_tensors, register_rule

__all__ = ['layers_with_rules', 'opaque_modules']

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _PartCall:
    """A call of a part in a real forward.

    Parameters
    ----------
    arguments, structure
        The leaves of its arguments (tensors by their shapes), and the tree of ``(args, kwargs)`` that they make.
    returned, tree
        The leaves of what it returned, and the tree that they make.
    """

    arguments: tuple[Any, ...]
    structure: Any
    returned: tuple[Any, ...]
    tree: Any

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors that it returned."""
        return [leaf for leaf in self.returned if isinstance(leaf, Tensor)]

    def rebuild(self, outputs: Sequence[Tensor]) -> Any:
        """Return what the part returns, with other tensors."""
        tensors = iter(outputs)
        return pytree.tree_unflatten(
            [next(tensors) if isinstance(leaf, Tensor) else leaf for leaf in self.returned], self.tree
        )


_calls: dict[str, list[_PartCall]] = {}
"""The calls of each part that is opaque now; read by the operator and its rule while a model is analyzed."""


@functools.cache
def _operator() -> Callable[[list[Tensor], str, int], list[Tensor]]:
    """Define the operator on first use, since that takes torch 0.1 s."""

    @torch.library.custom_op(
        'nni_cafenet::opaque', mutates_args=(), schema='(Tensor[] inputs, str part, int call) -> Tensor[]'
    )
    def opaque(inputs: list[Tensor], part: str, call: int) -> list[Tensor]:
        """Return the recorded outputs of one call of a part."""
        return [output.clone() for output in _calls[part][call].outputs]

    @opaque.register_fake
    def _(inputs: list[Tensor], part: str, call: int) -> list[Tensor]:
        outputs = _calls[part][call].outputs
        return [torch.empty(output.shape, dtype=output.dtype, device=output.device) for output in outputs]

    return opaque


@register_rule('nni_cafenet.opaque')
def _pass(call: Call, inputs: list[Any], part: str, index: int) -> Sequence[Dims]:
    """Run the rule of a registered layer; fix what reaches any other part."""
    module = call.modules[part]
    layer = find_layer(type(module))
    problem = 'which is excluded and cannot be exported'
    if layer is not None and layer.rule is not None:
        name = f'{part} ({type(module).__name__})'
        own = LayerCall(call.constraints, name, call.shapes, call.modules, path=part)
        try:
            return _through(own, layer.rule, inputs, _calls[part][index])
        except Exception as error:  # noqa: BLE001 - rules may be the user's
            pass_on(error)
            problem = f'whose rule failed with {type(error).__name__}: {first_line(error)}'
            if name not in call.constraints.warned:
                call.constraints.warned.add(name)
                _logger.warning('The layer %s keeps the channels that reach it: it is one %s.', name, problem)
        for key, _tensor in own_tensors(module):
            symbol = own.tensor(key)
            if symbol is not None:
                call.fix(*symbol.dims, reason=f'is in {part}, {problem}')
    for symbol in inputs:
        call.fix(*symbol.dims, reason=f'reaches {part}, {problem}')
    return [(None,) * len(shape) for shape in call.shapes]


def _through(call: LayerCall, rule: Rule, inputs: list[Any], recorded: _PartCall) -> Sequence[Dims]:
    """Return the dims of every output by a layer's rule."""
    symbols = iter(inputs)
    leaves = [next(symbols) if isinstance(leaf, torch.Size) else leaf for leaf in recorded.arguments]
    args, kwargs = pytree.tree_unflatten(leaves, recorded.structure)
    outputs = rule(call, *args, **kwargs)
    results = [outputs] if isinstance(recorded.rebuild(recorded.outputs), Tensor) else list(outputs)
    for dims, shape in zip([*results, *[()] * len(call.shapes)], call.shapes):
        sizes = [None if dim is None else len(dim) for dim in dims]
        if len(sizes) != len(shape) or any(size not in (None, full) for size, full in zip(sizes, shape)):
            raise ValueError(f'it gives dims of sizes {sizes} for an output of shape {shape}')
    return results


@contextlib.contextmanager
def layers_with_rules(model: nn.Module, example: ExampleInput) -> Iterator[set[str]]:
    """Make layers with a registered rule opaque inside a block.

    Yields
    ------
    The names of all parameters and buffers of these layers.
    """
    parts = []
    for name, module in model.named_modules():
        layer = find_layer(type(module))
        if layer is not None and layer.rule is not None:
            parts.append(name)
    if not parts:
        yield set()
        return
    with opaque_modules(model, example, parts) as called:
        owned = {id(tensor) for part in called for _, tensor in own_tensors(model.get_submodule(part))}
        yield {name for name, tensor in own_tensors(model) if id(tensor) in owned}


@contextlib.contextmanager
def opaque_modules(model: nn.Module, example: ExampleInput, parts: Sequence[str]) -> Iterator[list[str]]:
    """Replace sub-modules by an opaque operator inside a block.

    Yields
    ------
    The parts that the model calls.
    """
    modules = {name: model.get_submodule(name) for name in parts}
    handles = [
        module.register_forward_hook(_recorder(name), with_kwargs=True)
        for name, module in modules.items()
        if name not in _calls
    ]
    try:
        with torch.no_grad(), untouched(model) as state, state.watching():
            inputs = example.fresh()
            model(*inputs.args, **inputs.kwargs)
    except Exception as error:  # noqa: BLE001 - the caller reports why a model does not run
        pass_on(error)
    finally:
        for handle in handles:
            handle.remove()
    called = [name for name in modules if name in _calls and 'forward' not in modules[name].__dict__]
    try:
        for name in called:
            modules[name].__dict__['forward'] = _stand_in(name)
        yield called
    finally:
        for name in called:
            modules[name].__dict__.pop('forward', None)
            _calls.pop(name, None)


def _recorder(name: str) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        leaves, structure = pytree.tree_flatten((args, kwargs))
        returned, tree = pytree.tree_flatten(output)
        kept = tuple(leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in returned)
        _calls.setdefault(name, []).append(_PartCall(_described(leaves), structure, kept, tree))

    return hook


def _stand_in(name: str) -> Any:
    operator = _operator()

    def forward(*args: Any, **kwargs: Any) -> Any:
        leaves = pytree.tree_leaves((args, kwargs))
        described = _described(leaves)
        index = next((i for i, call in enumerate(_calls[name]) if call.arguments == described), None)
        if index is None:
            raise RuntimeError(f'{name} is called with {described}, as it was not in a real forward')
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return _calls[name][index].rebuild(operator(tensors, name, index))

    return forward


def _described(leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Replace tensors among the leaves by their shapes, and other objects by their types."""
    plain = (int, float, str, type(None))
    return tuple(
        torch.Size(leaf.shape) if isinstance(leaf, Tensor) else leaf if isinstance(leaf, plain) else type(leaf)
        for leaf in leaves
    )
