"""Call a model with other tensors, attributes or modes in place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from .tensor_slots import TensorSlots

__all__ = ['apply_attributes', 'call_with', 'using_attributes', 'using_mode']


def call_with(
    model: nn.Module,
    tensors: dict[str, Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    slots: TensorSlots | None = None,
) -> Any:
    """Call a model with some of its parameters and buffers replaced.

    Parameters
    ----------
    model
        The model.
    tensors
        ``{name: replacement}``, with the names of ``named_parameters`` and ``named_buffers``. Afterwards it holds the
        tensors that the call left there.
    args, kwargs
        Arguments of the model.
    slots
        The tensor slots of the model, if known.
    """
    with (slots or TensorSlots(model)).replaced(tensors):
        return model(*args, **kwargs)


def apply_attributes(
    model: nn.Module, attributes: Mapping[str, Mapping[str, Any]], slots: TensorSlots | None = None
) -> dict[str, dict[str, Any]]:
    """Set attributes of modules; return the old values, in the order in which to restore them."""
    modules = dict(model.named_modules(remove_duplicate=False)) if slots is None else slots.modules
    before: dict[str, dict[str, Any]] = {}
    for path, values in attributes.items():
        module = modules[path]
        own = before[path] = {name: getattr(module, name) for name in values}
        # nn.Module.__setattr__ would search parameters, buffers and children first.
        plain = getattr(type(module), '__setattr__') is nn.Module.__setattr__  # noqa: B009 - mypy takes it for object's
        assign = object.__setattr__ if plain else setattr
        for name, value in values.items():
            if own[name] is not value:
                assign(module, name, value)
    return dict(reversed(list(before.items())))


@contextlib.contextmanager
def using_attributes(model: nn.Module, attributes: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Set attributes of modules within a block."""
    before = apply_attributes(model, attributes)
    try:
        yield
    finally:
        apply_attributes(model, before)


@contextlib.contextmanager
def using_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a model into a mode within a block; afterwards every module has its own mode again."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, mode in before:
            module.training = mode
