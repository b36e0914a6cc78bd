"""Attributes of users' layers that follow a width, as declared by `register_layer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...graph import Attribute
from ..constraints import Constraints
from .registry import find_layer

__all__ = ['follow_sizes']


def follow_sizes(
    constraints: Constraints,
    model: nn.Module,
    names: Mapping[str, str],
    components: Callable[[], NDArray[np.int64]],
) -> None:
    """Make the declared attributes of every registered layer follow their dimensions.

    An attribute that is a share of its dimension (a number of groups) must be whole at every width; unless the operators
    of the model ensure that, the dimension is fixed.

    Parameters
    ----------
    constraints
        What the rules stated about the model; the attributes are added to it.
    model
        The model.
    names
        ``{name of a parameter or buffer: name that its tensor is registered under}``.
    components
        Solves the constraints (see `Constraints.component_of`).

    Raises
    ------
    ValueError
        If a layer has no such attribute or parameter, or the attribute is no share of the dimension's size.
    """
    attributes = list(_declared(constraints, model, names))
    constraints.attributes += [attribute for attribute in attributes if attribute not in constraints.attributes]
    shares = [attribute for attribute in attributes if attribute.divisor > 1]
    component = components() if shares else np.empty(0, dtype=np.int64)
    for attribute in shares:
        dim = constraints.parameters[attribute.parameter].dims[attribute.axis]
        if dim is not None and (np.unique(component[dim], return_counts=True)[1] % attribute.divisor).any():
            owner = f'{attribute.module}.{attribute.name}' if attribute.module else attribute.name
            constraints.fix(dim, f'is {attribute.divisor} times {owner}, which no operator keeps whole')


def _declared(constraints: Constraints, model: nn.Module, names: Mapping[str, str]) -> Iterator[Attribute]:
    for path, module in model.named_modules():
        layer = find_layer(type(module))
        for name, (parameter, axis) in layer.sizes.items() if layer is not None else ():
            where = f'register_layer({type(module).__name__}, sizes={{{name!r}: ({parameter!r}, {axis})}})'
            prefix = f'{path}.' if path else ''
            source = names.get(prefix + parameter)
            if source is None:
                own = ', '.join(key[len(prefix) :] for key in names if key.startswith(prefix)) or 'none'
                raise ValueError(f'{where}: {path or "the model"} has no parameter {parameter!r}. Name one of {own}.')
            shape = constraints.parameters[source].shape
            if not -len(shape) <= axis < len(shape):
                raise ValueError(f'{where}: {source} has no dimension {axis}, its shape is {shape}.')
            size, value = shape[axis], _number(getattr(module, name, None))
            if value is None or value < 1 or size % value:
                raise ValueError(
                    f'{where}: {name} of {path or "the model"} is {_shown(module, name)}, which is no share '
                    f'of the {size} positions of dimension {axis} of {source}. Name an attribute that holds a whole '
                    'number and the dimension that it counts.'
                )
            keys = (0,) if isinstance(getattr(module, name), tuple) else ()
            yield Attribute(path, name, source, axis % len(shape), size // value, keys)


def _number(value: object) -> int | None:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return value if type(value) is int else None


def _shown(module: nn.Module, name: str) -> str:
    value = getattr(module, name, None)
    plain = isinstance(value, (int, float, str, tuple))
    return repr(value) if plain else f'a {type(value).__name__}' if hasattr(module, name) else 'missing'
