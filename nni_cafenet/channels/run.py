"""Run the part of a model that a selection picks, in place: the model's own code, on slices of its tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

__all__ = ['apply_attributes', 'call_with', 'using_attributes']


def call_with(model: nn.Module, tensors: dict[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a model with some of its parameters and buffers replaced; ``tensors`` afterwards holds those it has set."""
    names = _one_name_each(model, tensors)
    given = {name: tensors[alias] for name, alias in names.items()}
    try:
        return functional_call(model, given, args, kwargs, tie_weights=False)
    finally:
        tensors.update((alias, given[name]) for name, alias in names.items())


def _one_name_each(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return ``{name: the name that its value was given by}``, one for each place in which a replaced tensor stands.

    Tied parameters stand in several modules; a module that has several names stands in one place. `functional_call` takes
    these for places of their own, and leaves what it was given in a module that it finds under a second name.
    """
    own = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    given = {id(tensor): name for name, tensor in own if name in tensors}
    names = {name: name for name in tensors}
    for name, _ in own:
        names.pop(name, None)  # what the model has is found below
    for path, module in model.named_modules():
        for leaf, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if id(tensor) in given:
                name = f'{path}.{leaf}' if path else leaf
                names[name] = name if name in tensors else given[id(tensor)]
    return names


def apply_attributes(model: nn.Module, attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Set attributes of modules; return the values that they had, the last ones first, as they are to be put back."""
    modules = dict(model.named_modules(remove_duplicate=False))
    before: dict[str, dict[str, Any]] = {}
    for path, values in attributes.items():
        module = modules[path]
        before[path] = {name: getattr(module, name) for name in values}
        for name, value in values.items():
            setattr(module, name, value)
    return dict(reversed(list(before.items())))


@contextlib.contextmanager
def using_attributes(model: nn.Module, attributes: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Set attributes of modules for the length of a block."""
    before = apply_attributes(model, attributes)
    try:
        yield
    finally:
        apply_attributes(model, before)
