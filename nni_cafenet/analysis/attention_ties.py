"""Tie attention to the stream that it reads, where the model's code takes its size from there.

In most models attention is as wide as its stream: the code reshapes its result to the size of its input
(``x.reshape(batch, rows, channels)``) or to an attribute of a module (``embed_dim``, ``head_dim``), and the operators show
only the number. Such a model has two readings: the operators alone, or with the inputs of every square layer that reads
attention tied to its outputs, and attributes following. Real forwards decide (`readings`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from ..graph import Attribute
from .constraints import Constraints, Ids

__all__ = ['tie_around_attention', 'tie_attention', 'tie_inside_attention', 'tie_multihead_attention']


def tie_multihead_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie the query of each ``nn.MultiheadAttention`` to what its heads give, as its code demands; None without one."""
    return _tied(constraints, model, list(_multihead(constraints, model)))


def tie_attention(constraints: Constraints, model: nn.Module, *, by_hand: bool = False) -> Constraints | None:
    """Tie the inputs of the layers that read attention to their outputs, position by position.

    Parameters
    ----------
    constraints, model
        The model, and what the rules stated about it.
    by_hand
        Leave out ``nn.MultiheadAttention`` (see `tie_multihead_attention`).

    Returns
    -------
    The constraints with the ties, or None if the model has no such layer.
    """
    return _tied(constraints, model, _square_readers(constraints, model, by_hand))


def tie_around_attention(constraints: Constraints, model: nn.Module, *, by_hand: bool = False) -> Constraints | None:
    """Tie as `tie_attention`, and the other square layers next to a layer that reads attention.

    They compute queries, keys, values or a downsampled stream, and their code takes the width from the stream:
    ``self.q(x).reshape(batch, rows, heads, channels // heads)``. None if there is no such layer.
    """
    readers = _square_readers(constraints, model, by_hand)
    known = {name for name, _, _ in readers}
    modules = {_parent(name) for name in known}
    around = [
        (name, constraints.parameters[name].dims[0], constraints.parameters[name].dims[1])
        for name, axis in constraints.read
        if axis == 1 and name not in known and _parent(name) in modules and _square(constraints, name)
    ]
    more = [(name, outputs, inputs) for name, outputs, inputs in around if outputs is not None and inputs is not None]
    return _tied(constraints, model, [*readers, *more]) if more else None


def tie_inside_attention(constraints: Constraints, model: nn.Module) -> Constraints | None:
    """Tie what attention reads to its result: as `tie_around_attention`, but its last layer makes channels of its own.

    Where no residual sum joins the two, ``reshape(batch, rows, channels)`` still takes the size of the result from the
    input. ``nn.MultiheadAttention`` compares ``embed_dim`` to its query. None if there is no layer that reads attention.
    """
    ties = [*_multihead(constraints, model)]
    known = {name for name, _, _ in ties}
    makers = _Makers(constraints)
    for name, outputs, inputs in _readers(constraints, square=False):
        if name in known:
            continue
        own = makers.of(name, inputs)
        ties += [(name, read, inputs) for _, read in own]
        if own:
            ties += makers.as_wide({_parent(name), *(_parent(maker) for maker, _ in own)}, besides={name, *known})
        elif _square(constraints, name):
            ties.append((name, outputs, inputs))
    return _tied(constraints, model, ties)


def _multihead(constraints: Constraints, model: nn.Module) -> Iterator[tuple[str, Ids, Ids]]:
    """Yield the layer that reads attention, with the inputs of the query, for every ``nn.MultiheadAttention``."""
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            start = f'{path}.' if path else ''
            name = 'q_proj_weight' if module.in_proj_weight is None else 'in_proj_weight'
            query = constraints.parameters.get(start + name)
            output = constraints.parameters.get(f'{start}out_proj.weight')
            if query is None or output is None or query.dims[1] is None or output.dims[1] is None:
                continue
            yield f'{start}out_proj.weight', query.dims[1], output.dims[1]


class _Makers:
    """The layers that make values, queries and keys, found by the channels that reach the products of attention."""

    def __init__(self, constraints: Constraints) -> None:
        self._component = constraints.component_of()
        self._multiplied = np.zeros(constraints.count, dtype=bool)
        for dim in constraints.attention_products:
            self._multiplied[self._component[dim]] = True
        self._weights: dict[str, tuple[Ids, Ids]] = {}
        for name, axis in constraints.read:
            outputs, inputs = constraints.parameters[name].dims[:2] if axis == 1 else (None, None)
            if outputs is not None and inputs is not None:
                self._weights[name] = (outputs, inputs)

    def of(self, reader: str, inputs: Ids) -> list[tuple[str, Ids]]:
        """Return the layers near a reader that make what it reads from as many channels, with their inputs."""
        components = np.unique(self._component[inputs])
        parent = _parent(reader)
        around = [f'{path}.' for path in (parent, parent.rpartition('.')[0]) if path]
        return [
            (name, read)
            for name, (made, read) in self._weights.items()
            if name != reader
            and len(read) == len(inputs)
            and (_parent(name) == parent or name.startswith(tuple(around)))
            and bool(np.isin(self._component[made], components).any())
        ]

    def as_wide(self, parents: Collection[str], besides: Collection[str]) -> list[tuple[str, Ids, Ids]]:
        """Return name, outputs and inputs of the layers in modules that make queries and keys as wide as their inputs.

        Those are square, or make both: the outputs of a layer are given part by part.
        """
        return [
            (name, part, read)
            for name, (made, read) in self._weights.items()
            if name not in besides and _parent(name) in parents and len(made) % len(read) == 0
            if len(made) == len(read) or (len(made) == 2 * len(read) and self._multiplied[self._component[made]].all())
            for part in made.reshape(-1, len(read))
        ]


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


def _square_readers(constraints: Constraints, model: nn.Module, by_hand: bool) -> list[tuple[str, Ids, Ids]]:
    multihead = {name for name, _, _ in _multihead(constraints, model)} if by_hand else ()
    return [reader for reader in _readers(constraints) if reader[0] not in multihead]


def _readers(constraints: Constraints, *, square: bool = True) -> Iterator[tuple[str, Ids, Ids]]:
    """Yield name, outputs and inputs of the weights that read attention alone: square linear layers, or any."""
    if not constraints.attention_outputs:
        return
    component = constraints.component_of()
    attention_outputs = np.zeros(constraints.count, dtype=bool)
    for dim in constraints.attention_outputs:
        attention_outputs[component[dim]] = True
    for name, axis in constraints.read:
        weight = constraints.parameters[name]
        if axis != 1 or (square and (len(weight.shape) != 2 or not _square(constraints, name))):
            continue
        outputs, inputs = weight.dims[:2]
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
