"""Distances, contractions and bilinear layers of activations, and functions of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constraints import Dim, Symbol
from .pointwise import broadcast
from .registry import Call, Dims, register_rule


@register_rule('aten.cosine_similarity')
def cosine_similarity(call: Call, left: Symbol, right: Symbol, axis: int = 1, *_: Any) -> Dims:
    """Compare two tensors along one dimension."""
    dims = list(_met(call, left, right))
    call.constraints.mix(dims.pop(axis))
    return dims


@register_rule('aten.pairwise_distance')
def pairwise_distance(call: Call, left: Symbol, right: Symbol, *_: Any, **__: Any) -> Dims:
    """Measure the distance of two tensors along the last dimension; a constant is added to every difference."""
    *dims, features = _met(call, left, right)
    call.constraints.mix(features)
    return (*dims, None) if len(call.shape) > len(dims) else dims


@register_rule('aten.cdist')
def distances(call: Call, left: Symbol, right: Symbol, *_: Any) -> Dims:
    """Measure the distances of all rows (..., m, k) and (..., n, k): (..., m, n). No counter sees its products."""
    call.same(left.dims[-1], right.dims[-1])
    dims: list[Dim] = []
    for axis in range(-len(call.shape), -2):
        meeting = [s.dims[axis] for s in (left, right) if len(s.shape) >= -axis and s.shape[axis] > 1]
        dims.append(call.same(*meeting) if meeting else None)
    return (*dims, left.dims[-2], right.dims[-2])


@register_rule('aten.tensordot')
def contraction(call: Call, left: Symbol, right: Symbol, of_left: Sequence[int], of_right: Sequence[int]) -> Dims:
    """Sum over pairs of dimensions; the rest of both follow each other. One operand may be a weight."""
    pairs = [(a % len(left.shape), b % len(right.shape)) for a, b in zip(of_left, of_right)]
    inner = [call.same(left.dims[a], right.dims[b]) for a, b in pairs]
    rest = [
        [axis for axis in range(len(symbol.shape)) if axis not in contracted]
        for symbol, contracted in zip((left, right), zip(*pairs))
    ]
    for own, other, kept, read in ((left, right, rest[0], 0), (right, left, rest[1], 1)):
        if not own.of_input and other.of_input:
            for axis in kept:
                call.produces(own, axis)
            for pair in pairs:
                call.reads(own, pair[read])
    for dim in inner:
        call.constraints.mix(dim)
    sizes = [(left.shape[axis], left.dims[axis]) for axis in rest[0]]
    sizes += [(right.shape[axis], right.dims[axis]) for axis in rest[1]]
    call.cost(1, [*sizes, *((left.shape[a], dim) for (a, _), dim in zip(pairs, inner))])
    return [dim for _, dim in sizes]


@register_rule('aten.bilinear')
def bilinear(call: Call, left: Symbol, right: Symbol, weight: Symbol, bias: Symbol | None = None) -> Dims:
    """Multiply two tensors of features through a weight (out, left, right). No counter sees its products."""
    for axis, symbol in ((1, left), (2, right)):
        call.same(symbol.dims[-1], weight.dims[axis])
        call.reads(weight, axis)
    for axis, name in enumerate(('out_features', 'in1_features', 'in2_features')):
        call.attribute(name, weight, axis, 1)
    call.produces(weight, 0)
    outputs = weight.dims[0] if bias is None else call.same(weight.dims[0], bias.dims[0])
    return (*(call.same(*pair) for pair in zip(left.dims[:-1], right.dims[:-1])), outputs)


@register_rule('aten.linalg_cross', 'aten.cross')
def cross_product(call: Call, left: Symbol, right: Symbol, *arguments: Any, dim: int = -1) -> Dims:
    """Multiply vectors of three numbers."""
    if arguments and arguments[0] is None:
        return call.fixed(left, right)[0]
    dims = list(_met(call, left, right))
    axis = arguments[0] if arguments else dim
    call.fix(dims[axis])
    dims[axis] = None
    return dims


@register_rule(
    *(
        f'aten.linalg_{name}'
        for name in 'inv pinv det slogdet cholesky qr svd svdvals eigh eigvalsh matrix_exp lu'.split()
    ),
    'aten.inverse',
    'aten.det',
    'aten.matrix_exp',
    'aten.cholesky',
    'aten.linalg_solve',
)
def of_matrices(call: Call, x: Symbol, *others: Any, **__: Any) -> Any:
    """Compute something of matrices, the last two dimensions, which cannot change."""
    call.fix(*x.dims[-2:])
    leading = list(x.dims[:-2])
    for other in others:
        if isinstance(other, Symbol):
            call.fix(*other.dims[len(leading) :])
            leading = [call.same(*pair) for pair in zip(leading, other.dims)]
    outputs = [(*leading, *(None,) * (len(shape) - len(leading))) for shape in call.shapes]
    return outputs if len(outputs) > 1 else outputs[0]


@register_rule('aten.linalg_matrix_norm', 'aten.linalg_norm')
def matrix_norm(call: Call, x: Symbol, order: Any = None, axes: Any = None, *_: Any, **__: Any) -> Any:
    """Take a norm over one or two dimensions, which cannot change; without them over all."""
    if axes is None and call.operator == 'aten.linalg_matrix_norm':
        axes = (-2, -1)
    if axes is None:
        return call.fixed(x)[0]
    gone = {axis % len(x.shape) for axis in ([axes] if isinstance(axes, int) else axes)}
    kept = call.without(x, gone)
    return kept if len(call.shape) == len(x.shape) else [dim for axis, dim in enumerate(kept) if axis not in gone]


def _met(call: Call, left: Symbol, right: Symbol) -> Dims:
    """Return the dims of two tensors that meet element by element."""
    longest = max((left, right), key=lambda symbol: len(symbol.shape))
    shape = tuple(
        max((symbol.shape[axis] for symbol in (left, right) if len(symbol.shape) >= -axis), default=1)
        for axis in range(-len(longest.shape), 0)
    )
    met: Dims = broadcast(Call(call.constraints, call.operator, (shape,), call.modules), left, right)
    return met
