"""Parts of a model that stay whole: where they cannot be exported, one opaque operator stands for each.

What reaches such a part, what it returns and all that is inside keep their widths. The rest of the model is analysed as
ever, and real forwards run the real part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .inputs import ExampleInput
from .rules import Call, register_rule

__all__ = ['opaque_parts']

_outputs: dict[str, list[Tensor]] = {}
"""What each part that is opaque now returned in a real forward; read by the operator while a model is exported."""


@torch.library.custom_op('nni_cafenet::opaque', mutates_args=(), schema='(Tensor[] inputs, str part) -> Tensor[]')
def _opaque(inputs: list[Tensor], part: str) -> list[Tensor]:
    """Stand for a part of a model."""
    return [torch.empty_like(output) for output in _outputs[part]]


@_opaque.register_fake
def _(inputs: list[Tensor], part: str) -> list[Tensor]:
    return [torch.empty(output.shape, dtype=output.dtype, device=output.device) for output in _outputs[part]]


@register_rule('nni_cafenet.opaque')
def _fix(call: Call, inputs: list[Any], part: str) -> list[tuple[None, ...]]:
    for symbol in inputs:
        call.fix(*symbol.dims, reason=f'reaches {part}, which is excluded and cannot be exported')
    return [(None,) * len(shape) for shape in call.shapes]


@contextlib.contextmanager
def opaque_parts(model: nn.Module, example: ExampleInput, parts: Sequence[str]) -> Iterator[None]:
    """Put an opaque operator in the place of some sub-modules, for the length of a block.

    Parameters
    ----------
    model
        The model.
    example
        What it is called with; one real forward tells what the parts return.
    parts
        Names of the sub-modules. Those inside another one of them need not be named.
    """
    modules = {name: model.get_submodule(name) for name in parts}
    structures: dict[str, Any] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            leaves, structures[name] = pytree.tree_flatten(output)
            _outputs[name] = [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]

        return hook

    def stand_in(name: str) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            return pytree.tree_unflatten(_opaque(inputs, name), structures[name])

        return forward

    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            inputs = example.fresh()
            model(*inputs.args, **inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    called = {name: module for name, module in modules.items() if name in structures}
    try:
        for name, module in called.items():
            module.__dict__['forward'] = stand_in(name)
        yield
    finally:
        for name, module in called.items():
            del module.__dict__['forward']
            del _outputs[name]
