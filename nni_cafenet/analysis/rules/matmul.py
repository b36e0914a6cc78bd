"""Products of activations: summed dimensions agree, all others pass; MACs are counted."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from ..constraints import Dim, Symbol, product
from .registry import Call, Dims, register_rule


@register_rule('aten.matmul', 'aten.bmm', 'aten.mm')
def matrix_product(call: Call, left: Symbol, right: Symbol) -> Any:
    """Multiply (..., m, k) by (..., k, n). The leading dimensions are lined up from the right."""
    if min(len(left.shape), len(right.shape)) < 2:
        call.cost(product(call.shape) * left.shape[-1], [])
        return call.fixed(left, right)[0]
    inner = call.same(left.dims[-1], right.dims[-2])
    if left.name is None and right.name is None:
        call.constraints.mix(inner)  # what the model divides the products by may follow their length
        if inner is not None:
            call.constraints.attention_products.append(inner)
        outputs = left.dims[-2] if right.dims[-1] is None else right.dims[-1]  # channels come first in some
        if outputs is not None:
            call.constraints.attention_outputs.append(outputs)
    if right.name is not None:
        call.produces(right, len(right.shape) - 1)
        call.reads(right, len(right.shape) - 2)
    dims: list[Dim] = []
    for axis in range(len(call.shape) - 2):
        from_right = axis - len(call.shape)
        meeting = [s.dims[from_right] for s in (left, right) if len(s.shape) >= -from_right and s.shape[from_right] > 1]
        dim = meeting[0] if meeting else None
        dims.append(call.same(dim, meeting[1]) if len(meeting) > 1 else dim)
    dims += [left.dims[-2], right.dims[-1]]
    call.cost(1, [(left.shape[-1], inner), *zip(call.shape, dims)])
    return dims


@register_rule('aten.addmm', 'aten.baddbmm')
def matrix_product_and_sum(call: Call, bias: Symbol, left: Symbol, right: Symbol, **__: Any) -> Any:
    """Add a matrix product to what lines up with it from the right."""
    dims = matrix_product(call, left, right)
    for axis, dim in enumerate(bias.dims):
        place = axis - len(bias.dims)
        if bias.shape[axis] == call.shape[place] > 1:
            dims[place] = call.same(dims[place], dim)
    return dims


@register_rule('aten.scaled_dot_product_attention')
def attention(
    call: Call,
    query: Symbol,
    key: Symbol,
    value: Symbol,
    mask: Symbol | None = None,
    *_: Any,
    enable_gqa: bool = False,
    **__: Any,
) -> Any:
    """Attend: query (..., heads, rows, width), key (..., heads, columns, width), value (..., heads, columns, out).

    Grouped queries (``enable_gqa``): each head of key and value serves several neighboring heads of the query.
    """
    symbols = [query, key, value, *([mask] if isinstance(mask, Symbol) else [])]
    if len({len(s.shape) for s in symbols[:3]}) > 1:
        call.cost(product(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]), [])
        return call.fixed(*symbols)[0]
    call.fix(query.dims[-2], key.dims[-2], value.dims[-2])
    if isinstance(mask, Symbol):
        call.fix(*mask.dims[-2:])
    leading = [_head(call, symbols, axis, enable_gqa) for axis in range(-len(query.shape), -2)]
    width = call.same(query.dims[-1], key.dims[-1])
    call.constraints.mix(width)  # the products are divided by the root of their length
    call.constraints.attention_products.extend(dim for dim in (*leading, width) if dim is not None)
    call.constraints.mix(value.dims[-1])
    call.constraints.attention_outputs.extend(dim for dim in (*leading, value.dims[-1]) if dim is not None)
    batch = list(zip(query.shape[:-2], leading))
    products = query.shape[-2] * key.shape[-2]
    call.cost(products, [*batch, (query.shape[-1], width)])
    call.cost(products, [*batch, (value.shape[-1], value.dims[-1])])
    return (*leading, None, value.dims[-1])


def _head(call: Call, symbols: Sequence[Symbol], axis: int, grouped: bool) -> Dim:
    """State that a leading dimension of attention agrees; return that of the query."""
    query = symbols[0].dims[axis]
    size = symbols[0].shape[axis]
    for symbol in symbols[1:]:
        if len(symbol.shape) < -axis or symbol.shape[axis] == 1 < size:
            continue
        if symbol.shape[axis] == size:
            query = call.same(query, symbol.dims[axis])
        elif grouped and query is not None:
            rows = query.reshape(symbol.shape[axis], -1)
            call.same(symbol.dims[axis], *rows.T)
        else:
            call.fix(query, symbol.dims[axis])
    return query


@register_rule('aten.einsum')
def einsum(call: Call, equation: str, tensors: list[Symbol], **__: Any) -> Any:
    """Match the dimensions of each letter. A product of two tensors counts as a matrix product.

    With a single position left to sum over, torch multiplies element by element, at no cost. Of several letters that are
    summed over, one may change.
    """
    inputs, _, output = _spelled_out(equation.replace(' ', ''), tensors).partition('->')
    letters = inputs.split(',')
    plain = '->' in equation and len(tensors) <= 2
    if not plain or any(len(set(term)) < len(term) for term in letters):
        return call.fixed(*tensors)[0]
    sizes: dict[str, int] = {}
    dims: dict[str, Dim] = {}
    for term, tensor in zip(letters, tensors):
        for letter, size, dim in zip(term, tensor.shape, tensor.dims):
            if letter not in sizes or sizes[letter] == 1:
                sizes[letter], dims[letter] = size, dim
            elif size > 1:
                dims[letter] = call.same(dims[letter], dim)
    shared = set(letters[0]).intersection(*letters[1:])
    alone = [x for x in sizes if x not in output and x not in shared]
    summed = [x for x in sizes if x not in output and x in shared and sizes[x] > 1]
    changing = [letter for letter in summed if dims[letter] is not None]
    for letter in [*alone, *(changing if len(tensors) == 1 or len(changing) > 1 else ())]:
        call.fix(dims[letter])
        dims[letter] = None
    if len(tensors) == 2 and len(summed) > 1:
        call.constraints.mix(dims[changing[0]] if changing else None)
        call.cost(1, [(sizes[letter], dims[letter]) for letter in sizes if letter not in alone])
    elif len(tensors) == 2 and summed:
        width = dims[summed[0]]
        call.constraints.mix(width)
        if width is not None:
            call.constraints.attention_products.append(width)
        factors = [(sizes[x], dims[x]) for x in sizes if x not in alone and not (width is not None and x in summed)]
        call.cost(1, factors, vanishing=width)
    if len(tensors) == 2 and summed:
        _layer_of_its_own(call, letters, tensors, output, summed)
    for letter in letters[-1]:
        if len(tensors) == 2 and letter in output and letter not in shared and dims[letter] is not None:
            call.constraints.attention_outputs.append(dims[letter])  # type: ignore[arg-type]
    return [dims[letter] for letter in output]


def _layer_of_its_own(
    call: Call, letters: Sequence[str], tensors: Sequence[Symbol], output: str, summed: Sequence[str]
) -> None:
    """Record what a weight makes and reads, where one operand is a weight and the other one an activation."""
    for own, other in ((0, 1), (1, 0)):
        made = [letter for letter in letters[own] if letter in output and letter not in letters[other]]
        if not tensors[own].of_input and tensors[other].of_input and len(made) <= 2:  # more: a kernel that is mixed
            for letter in made:
                call.produces(tensors[own], letters[own].index(letter))
            for letter in summed:
                call.reads(tensors[own], letters[own].index(letter))


def _spelled_out(equation: str, tensors: list[Symbol]) -> str:
    """Replace dots by letters, the same ones for dimensions that line up from the right."""
    inputs, arrow, output = equation.partition('->')
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    counts = [len(s.shape) - len(term.replace('...', '')) for term, s in zip(inputs.split(','), tensors)]
    longest = ''.join(unused[: max(count if '...' in term else 0 for count, term in zip(counts, inputs.split(',')))])
    terms = [term.replace('...', longest[len(longest) - n :]) for n, term in zip(counts, inputs.split(','))]
    return ','.join(terms) + arrow + output.replace('...', longest)


@register_rule('aten.outer')
def outer(call: Call, left: Symbol, right: Symbol) -> Dims:
    """Multiply every element of a vector with every one of another."""
    return (left.dims[0], right.dims[0])
