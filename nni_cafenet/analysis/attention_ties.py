"""Sizes that a model's code takes from elsewhere, which its operators do not show.

Attention is as wide as the stream that it reads, in most models: the code reshapes its result to the size of its input
(``x.reshape(batch, rows, channels)``), or to a number that a module keeps (``embed_dim``, ``head_dim``). The graph shows
only the number. So there are two readings of such a model: the operators alone, and with the inputs of every square layer
that reads attention tied to its outputs, numbers of modules following. Real forwards decide which is right (`analyze`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from ..graph import Attribute
from .constraints import Constraints, Ids

__all__ = ['tie_around_attention', 'tie_attention']


def tie_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie the inputs of the layers that read attention to their outputs, position by position.

    Parameters
    ----------
    constraints
        What the rules stated about the model. It is left as it was.
    model
        The model, for the numbers that its modules keep.

    Returns
    -------
    The constraints with the ties, or None if the model has no such layer.
    """
    return _tied(constraints, model, list(_readers(constraints)))


def tie_around_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie as `tie_attention`, and so the other square layers beside a layer that reads attention.

    They make queries, keys and values, or a smaller picture of the stream, whose code takes the width from the stream:
    ``self.q(x).reshape(batch, rows, heads, channels // heads)``. None if there is no such layer.
    """
    readers = list(_readers(constraints))
    known = {name for name, _, _ in readers}
    modules = {_parent(name) for name in known}
    around = [
        (name, constraints.parameters[name].dims[0], constraints.parameters[name].dims[1])
        for name, axis in constraints.read
        if axis == 1 and name not in known and _parent(name) in modules and _square(constraints, name)
    ]
    more = [(name, outputs, inputs) for name, outputs, inputs in around if outputs is not None and inputs is not None]
    return _tied(constraints, model, [*readers, *more]) if more else None


def _tied(constraints: Constraints, model: nn.Module, readers: Sequence[tuple[str, Ids, Ids]]) -> Constraints | None:
    if not readers:
        return None
    pairs = [(outputs, inputs) for _, outputs, inputs in readers]
    tied = replace(constraints, pairs=[*constraints.pairs, *pairs], attributes=list(constraints.attributes))
    component = tied.component_of()
    modules = dict(model.named_modules(remove_duplicate=False))
    known = {(attribute.module, attribute.name) for attribute in tied.attributes}
    for name, _, inputs in readers:
        repeats = len(inputs) // len(np.unique(component[inputs]))
        for attribute in _numbers(name, len(inputs), repeats, modules):
            if (attribute.module, attribute.name) not in known:
                known.add((attribute.module, attribute.name))
                tied.attributes.append(attribute)
    return tied


def _readers(constraints: Constraints) -> Iterator[tuple[str, Ids, Ids]]:
    """Yield name, outputs and inputs of the weights of square linear layers all of whose inputs come out of attention."""
    if not constraints.attention_outputs:
        return
    component = constraints.component_of()
    attention_outputs = np.zeros(constraints.count, dtype=bool)
    for dim in constraints.attention_outputs:
        attention_outputs[component[dim]] = True
    for name, axis in constraints.read:
        weight = constraints.parameters[name]
        if axis != 1 or len(weight.shape) != 2 or not _square(constraints, name):
            continue
        outputs, inputs = weight.dims
        if outputs is not None and inputs is not None and attention_outputs[component[inputs]].all():
            yield name, outputs, inputs


def _square(constraints: Constraints, name: str) -> bool:
    shape = constraints.parameters[name].shape
    return len(shape) > 1 and shape[0] == shape[1]


def _parent(name: str) -> str:
    """Return the module that holds the layer of a parameter."""
    return name.rpartition('.')[0].rpartition('.')[0]


def _numbers(name: str, full: int, repeats: int, modules: dict[str, nn.Module]) -> Iterator[Attribute]:
    """Yield the numbers of the modules around a layer that are its width, or its width a head in the nearest module.

    A number that could be the heads as well as their width is left alone.
    """
    path = _parent(name)
    nearest = path
    while True:
        for number, value in vars(modules[path]).items():
            if type(value) is not int or number.startswith('_'):
                continue
            if value == full:
                yield Attribute(path, number, name, 1, 1)
            elif path == nearest and value * repeats == full and value != repeats:
                yield Attribute(path, number, name, 1, repeats)
        if not path:
            return
        path = path.rpartition('.')[0]
