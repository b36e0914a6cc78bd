"""Tie attention to the stream that it reads, where the model's code takes its size from there.

In most models attention is as wide as its stream: the code reshapes its result to the size of its input
(``x.reshape(batch, rows, channels)``) or to an attribute of a module (``embed_dim``, ``head_dim``), and the operators show
only the number. Such a model has two readings: the operators alone, or with the inputs of every square layer that reads
attention tied to its outputs, and attributes following. Real forwards decide (`readings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from ..graph import Attribute
from .constraints import Constraints, Ids

__all__ = ['tie_around_attention', 'tie_attention', 'tie_multihead_attention']


def tie_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie the inputs of the layers that read attention to their outputs, position by position.

    Returns
    -------
    The constraints with the ties, or None if the model has no such layer.
    """
    return _tied(constraints, model, list(_readers(constraints)))


def tie_around_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie as `tie_attention`, and the other square layers next to a layer that reads attention.

    They compute queries, keys, values or a downsampled stream, and their code takes the width from the stream:
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


def tie_multihead_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie the inside of every ``nn.MultiheadAttention`` to its query, to whose width it compares ``embed_dim``.

    The layers that read other attention are tied as in `tie_attention`. None if there is no such module.
    """
    found: list[tuple[str, Ids, Ids]] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            start = f'{path}.' if path else ''
            name = 'q_proj_weight' if module.in_proj_weight is None else 'in_proj_weight'
            query = constraints.parameters.get(start + name)
            output = constraints.parameters.get(f'{start}out_proj.weight')
            if query is None or output is None or query.dims[1] is None or output.dims[1] is None:
                continue
            found.append((f'{start}out_proj.weight', query.dims[1], output.dims[1]))
    if not found:
        return None
    known = {name for name, _, _ in found}
    return _tied(constraints, model, [*(each for each in _readers(constraints) if each[0] not in known), *found])


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
    """Yield name, outputs and inputs of the weights of square linear layers that read attention alone."""
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
    """Yield attributes of the enclosing modules equal to a layer's width, or in the nearest one to its width per head.

    A number that could also be the number of heads is skipped.
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
