"""Products of activations."""

from __future__ import annotations

from typing import Any

from ..constraints import Symbol, product
from .registry import Call, register_rule


@register_rule('aten.matmul', 'aten.bmm', 'aten.mm')
def matrix_product(call: Call, left: Symbol, right: Symbol) -> Any:
    """Fix what is multiplied (widths inside attention are the work of a later rule), and count it."""
    inner = left.shape[-1]
    call.cost(product(call.shape) * inner, [])
    return call.fixed(left, right)[0]


@register_rule('aten.addmm', 'aten.baddbmm')
def matrix_product_and_sum(call: Call, bias: Symbol, left: Symbol, right: Symbol, **__: Any) -> Any:
    """Fix and count, like `matrix_product`."""
    call.cost(product(call.shape) * left.shape[-1], [])
    return call.fixed(bias, left, right)[0]


@register_rule('aten.scaled_dot_product_attention')
def attention(call: Call, query: Symbol, key: Symbol, value: Symbol, *rest: Any, **__: Any) -> Any:
    """Fix and count: the product of queries and keys, and that of its result with the values."""
    rows = product(query.shape[:-1])
    call.cost(rows * key.shape[-2] * (query.shape[-1] + value.shape[-1]), [])
    return call.fixed(query, key, value, *(s for s in rest if isinstance(s, Symbol)))[0]
