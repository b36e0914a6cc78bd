"""Recurrent layers and cells: all gates keep the same positions of the hidden width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..constraints import Dim, Symbol
from .registry import Call, Dims, register_rule

_GATES = {'lstm': 4, 'gru': 3}


@register_rule('aten.lstm', 'aten.gru', 'aten.rnn_tanh', 'aten.rnn_relu')
def recurrent(call: Call, x: Symbol, *arguments: Any) -> list[Dims]:
    """Run over steps, in layers of one or two directions, which share one hidden width and one projected width.

    Arguments: states, weights, whether there are biases, number of layers, dropout, training, two directions, batch first.
    A packed sequence has the rows of all steps in one dimension; the sizes of its steps come before the states, and it has
    no last argument. MACs are those of the matrix products, also where a fused kernel hides them from torch's counter.
    """
    packed = isinstance(arguments[2], (list, tuple))
    states, weights, biases, layers, _, _, both_ways, *batch_first = arguments[int(packed) :]
    states = list(states) if isinstance(states, (list, tuple)) else [states]
    steps, samples = (1, 0) if batch_first and batch_first[0] else (0, 1)
    batch = None if packed else x.dims[samples]
    call.fix(x.dims[steps], reason=f'is the sequence of {call.operator}')
    for state in states:
        call.fix(state.dims[0], reason='')
        batch = call.same(batch, state.dims[1])
    rows: list[tuple[int, Dim]] = (
        [(x.shape[0], None)] if packed else [(x.shape[steps], None), (x.shape[samples], batch)]
    )
    directions = 2 if both_ways else 1
    numbers = len(weights) // (layers * directions)
    inputs = x.dims[-1]
    found: list[tuple[Dim, Dim]] = []
    for first in range(0, len(weights), numbers * directions):
        for start in range(first, first + numbers * directions, numbers):
            found.append(_step(call, inputs, weights[start : start + numbers], biases, rows))
            if first == 0:
                _sizes(call, weights[start : start + numbers], biases)
        inputs = None if found[-1][1] is None else np.tile(found[-1][1], directions)
    hidden, out = (call.same(*dims) for dims in zip(*found))
    ends = [call.same(dim, state.dims[-1]) for dim, state in zip((out, hidden), states)]
    output = None if ends[0] is None else np.tile(ends[0], directions)
    shape: list[Dim] = [None, output] if packed else [None, None, output]
    if not packed:
        shape[samples] = batch
    return [shape, *((None, batch, end) for end in ends)]


@register_rule('aten.lstm_cell', 'aten.gru_cell', 'aten.rnn_tanh_cell', 'aten.rnn_relu_cell')
def cell(call: Call, x: Symbol, states: Any, *weights: Symbol | None) -> Any:
    """Make one step."""
    states = list(states) if isinstance(states, (list, tuple)) else [states]
    batch = call.same(x.dims[0], *(state.dims[0] for state in states))
    given = [weight for weight in weights if weight is not None]
    hidden, _ = _step(call, x.dims[-1], given, len(given) > 2, [(x.shape[0], batch)])
    _sizes(call, given, len(given) > 2)
    hidden = call.same(hidden, *(state.dims[-1] for state in states))
    outputs = [(batch, hidden) for _ in call.shapes]
    return outputs if len(outputs) > 1 else outputs[0]


def _step(
    call: Call, inputs: Dim, weights: Sequence[Symbol], biases: bool, rows: list[tuple[int, Dim]]
) -> tuple[Dim, Dim]:
    """State what one layer does in one direction; return its hidden width and what it gives out.

    Weights: of the input and of what was given out, each (gates * hidden, size); two biases; a projection (out, hidden).
    """
    of_input, of_last, projection = *weights[:2], _projection(weights, biases)
    gates = [of_input, of_last, *(weights[2:4] if biases else ())]
    hidden = out = call.same(*(_one_gate(call, weight.dims[0]) for weight in gates))
    products = [of_input, of_last]
    if projection is not None:
        products.append(projection)
        call.same(hidden, projection.dims[1])
        out = _narrower(call, hidden, projection.dims[0], projection.shape[0])
    call.same(inputs, of_input.dims[1])
    call.same(out, of_last.dims[1])
    call.reads(of_input, 1)
    for weight in products:
        call.produces(weight, 0)
        call.cost(1, [*rows, *zip(weight.shape, weight.dims)])
    return hidden, out


def _narrower(call: Call, hidden: Dim, out: Dim, size: int) -> Dim:
    """State that a projection stays narrower than the hidden width: torch takes equal widths for no projection."""
    if hidden is None or len(hidden) % size:
        call.fix(hidden, reason=f'must stay wider than its projection in {call.operator}')
        return out
    call.same(out, *hidden.reshape(size, -1).T)
    return out


def _one_gate(call: Call, dim: Dim) -> Dim:
    """State that the rows of all gates stay or go together; return those of the first."""
    if dim is None:
        return None
    gates = dim.reshape(_number_of_gates(call), -1)
    call.same(*gates)
    if gates.shape[1] == 1:
        call.fix(dim, reason='is a single channel')
        return None
    return gates[0]


def _number_of_gates(call: Call) -> int:
    return _GATES.get(call.operator.removeprefix('aten.').removesuffix('_cell'), 1)


def _projection(weights: Sequence[Symbol], biases: bool) -> Symbol | None:
    return weights[-1] if len(weights) > (4 if biases else 2) else None


def _sizes(call: Call, weights: Sequence[Symbol], biases: bool) -> None:
    """Make the sizes that the layer keeps as numbers follow its weights."""
    call.attribute('input_size', weights[0], 1, 1)
    call.attribute('hidden_size', weights[0], 0, _number_of_gates(call))
    projection = _projection(weights, biases)
    if projection is not None:
        call.attribute('proj_size', projection, 0, 1)


@register_rule('aten._pack_padded_sequence')
def pack(call: Call, x: Symbol, lengths: Symbol, *_: Any) -> list[Dims]:
    """Join the steps of all samples: (N, steps, *features) gives (rows, *features), and how many rows each step has."""
    call.fix(*x.dims[:2], *lengths.dims, reason=f'is a sample or a step of {call.operator}')
    return [(None, *x.dims[2:]), (None,)]


@register_rule('aten._pad_packed_sequence')
def pad_packed(call: Call, x: Symbol, *_: Any) -> list[Dims]:
    """Take the steps of all samples apart again, as `pack`."""
    return [(None, None, *x.dims[1:]), (None,)]
