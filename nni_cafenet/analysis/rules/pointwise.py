"""Elementwise and per-channel operators, and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constraints import Dim, Symbol
from .registry import Call, Dims, Rule, register_rule
from .windows import padded


@register_rule(
    *(
        f'aten.{name}{suffix}'
        for name in (
            'relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu elu celu selu leaky_relu mish tanh '
            'softplus dropout feature_dropout alpha_dropout feature_alpha_dropout abs neg exp log sqrt rsqrt square '
            'reciprocal '
            'logical_not bitwise_not round floor ceil trunc sign erf sin cos bernoulli fill zero clone log2 log1p expm1 '
            'logsigmoid log_sigmoid softsign hardshrink softshrink tanhshrink threshold rrelu isnan isinf nan_to_num '
            'contiguous detach alias to _to_copy type_as zeros_like ones_like empty_like full_like rand_like '
            'lift_fresh_copy resolve_conj resolve_neg absolute negative positive special_expit isfinite isreal'
        ).split()
        for suffix in ('', '_')
    )
)
def elementwise(call: Call, x: Symbol, *_: Any, **__: Any) -> Dims:
    """Keep every dimension: the output has the shape of the first argument."""
    return x.dims


@register_rule(
    *(
        f'aten.{name}{suffix}'
        for name in (
            'add sub rsub mul div pow maximum minimum where lerp addcmul addcdiv eq ne lt le gt ge '
            'logical_and logical_or logical_xor bitwise_and bitwise_or atan2 remainder fmod clamp clamp_min clamp_max '
            'masked_fill copy multiply subtract divide true_divide floor_divide float_power greater greater_equal less '
            'less_equal not_equal clip'
        ).split()
        for suffix in ('', '_')
    )
)
def broadcast(call: Call, *operands: Any, **__: Any) -> Any:
    """Broadcast: dimensions line up from the right, and those that meet agree."""
    if call.operator == 'aten.where' and len(operands) == 1:
        return call.fixed(*operands)  # the positions of what is not zero
    symbols = [operand for operand in operands if isinstance(operand, Symbol)]
    rank = len(call.shape)
    dims: list[Dim] = []
    for axis, size in enumerate(call.shape):
        meeting = [
            symbol.dims[axis - rank + len(symbol.shape)]
            for symbol in symbols
            if axis - rank + len(symbol.shape) >= 0 and symbol.shape[axis - rank + len(symbol.shape)] == size
        ]
        dims.append(call.same(*meeting) if meeting else None)
    return dims


@register_rule('aten.broadcast_tensors')
def broadcast_tensors(call: Call, tensors: Sequence[Symbol]) -> list[Dims]:
    """Return all tensors in their common shape."""
    return [broadcast(call, *tensors)] * len(tensors)


@register_rule('aten.randn_like', 'aten.randint_like', 'aten.normal')
def noise(call: Call, *operands: Any, **__: Any) -> Any:
    """Draw random numbers, others at every width: what they are added to keeps its width (the code of an autoencoder)."""
    for symbol in (operand for operand in operands if isinstance(operand, Symbol)):
        call.fix(*symbol.dims, reason=f'is as wide as the random numbers of {call.operator}')
    return [None] * len(call.shape)


@register_rule('aten.prelu')
def prelu(call: Call, x: Symbol, weight: Symbol) -> Dims:
    """One slope for all channels, or one for each (dimension 1)."""
    if weight.shape[0] == 1:
        return x.dims
    return (x.dims[0], call.same(x.dims[1], weight.dims[0]), *x.dims[2:])


def _spatial(rank: int) -> Rule:
    def rule(call: Call, x: Symbol, *_: Any, **__: Any) -> Any:
        call.fix(*x.dims[-rank:])
        outputs = [(*x.dims[:-rank], *(None,) * rank) for _ in call.shapes]
        return outputs if len(outputs) > 1 else outputs[0]

    return rule


for _rank, _names in {
    1: 'max_pool1d avg_pool1d adaptive_avg_pool1d upsample_nearest1d upsample_linear1d reflection_pad1d '
    'replication_pad1d max_pool1d_with_indices adaptive_max_pool1d _upsample_nearest_exact1d',
    2: 'max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d '
    'upsample_bilinear2d upsample_bicubic2d reflection_pad2d replication_pad2d lp_pool2d _upsample_nearest_exact2d '
    '_upsample_bilinear2d_aa _upsample_bicubic2d_aa',
    3: 'max_pool3d max_pool3d_with_indices avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d upsample_nearest3d '
    'upsample_trilinear3d reflection_pad3d replication_pad3d _upsample_nearest_exact3d',
}.items():
    register_rule(*(f'aten.{name}' for name in _names.split()))(_spatial(_rank))


@register_rule('aten.pad', 'aten.constant_pad_nd')
def padding(call: Call, x: Symbol, amounts: Sequence[int], mode: Any = 'constant', *_: Any, **__: Any) -> Dims:
    """Pad the last dimensions; ``amounts`` holds two numbers for each, the last dimension first."""
    dims = list(x.dims)
    for index in range(len(amounts) // 2):
        before, after = amounts[2 * index], amounts[2 * index + 1]
        if before or after:
            dims[-1 - index] = padded(call, dims[-1 - index], before, after, mode)
    return dims


@register_rule(
    *(
        f'aten.{name}'
        for name in (
            'mean sum amax amin var std logsumexp softmax log_softmax softmin _softmax nansum nanmean prod any all '
            'count_nonzero'
        ).split()
    )
)
def reduction(call: Call, x: Symbol, axes: Any = None, *_: Any, **__: Any) -> Any:
    """Reduce over dimensions, or normalize along one."""
    if not isinstance(axes, (int, list, tuple)) or isinstance(axes, bool):
        return call.fixed(x)[0]
    reduced = {axis % len(x.shape) for axis in ([axes] if isinstance(axes, int) else axes)}
    if call.operator in _SPREADS:
        call.averages(x, reduced)
    for axis in reduced:
        call.constraints.mix(x.dims[axis])
    if len(call.shape) < len(x.shape):
        return tuple(dim for axis, dim in enumerate(x.dims) if axis not in reduced)
    keeps = call.shape == x.shape
    return tuple(dim if keeps or axis not in reduced else None for axis, dim in enumerate(x.dims))


_SPREADS = ('aten.var', 'aten.std', 'aten.var_mean', 'aten.std_mean')


@register_rule('aten.var_mean', 'aten.std_mean')
def spread_and_mean(call: Call, x: Symbol, axes: Any = None, *_: Any, **__: Any) -> Any:
    """Reduce over dimensions, twice."""
    dims = reduction(call, x, axes)
    return [dims for _ in call.shapes]


@register_rule('aten.max', 'aten.min')
def extremum(call: Call, x: Symbol, other: Any = None, *_: Any, **__: Any) -> Any:
    """Compare two tensors, or reduce over one dimension (values and indices), or over all."""
    if isinstance(other, Symbol):
        return broadcast(call, x, other)
    dims = reduction(call, x, other)
    return [dims for _ in call.shapes] if len(call.shapes) > 1 else dims


@register_rule('aten.aminmax')
def smallest_and_largest(call: Call, x: Symbol, *, dim: int | None = None, **__: Any) -> Any:
    """Reduce over one dimension, or over all."""
    dims = reduction(call, x, dim)
    return [dims for _ in call.shapes]


@register_rule(*(f'aten.{name}' for name in 'argmax argmin argsort sort cumsum cumprod cummax cummin'.split()))
@register_rule('aten.logcumsumexp')
def along(call: Call, x: Symbol, axis: Any = -1, *_: Any, **__: Any) -> Any:
    """Sort, accumulate or search along one dimension, which cannot change."""
    if not isinstance(axis, int) or isinstance(axis, bool):
        return [tuple(dims) for dims in call.fixed(x)] if len(call.shapes) > 1 else call.fixed(x)[0]
    kept = call.without(x, [axis])
    if len(call.shape) < len(x.shape):
        del kept[axis]
    return [tuple(kept) for _ in call.shapes] if len(call.shapes) > 1 else kept


@register_rule('aten.topk')
def topk(call: Call, x: Symbol, number: int, axis: int = -1, *_: Any, **__: Any) -> Any:
    """Take the largest along one dimension, as `along`."""
    return along(call, x, axis)


@register_rule('aten.median', 'aten.nanmedian', 'aten.mode', 'aten.kthvalue', 'aten.quantile', 'aten.nanquantile')
def ordered(call: Call, x: Symbol, *arguments: Any, dim: int | None = None, **__: Any) -> Any:
    """Take a value by its rank along one dimension, which cannot change, as `along`; or along all."""
    first = 1 if call.operator.endswith(('kthvalue', 'quantile')) else 0
    default = None if call.operator.endswith(('median', 'quantile')) else -1
    axis = dim if dim is not None else arguments[first] if len(arguments) > first else default
    if not isinstance(axis, int) or len(call.shape) > len(x.shape):
        outputs = call.fixed(x)
        return [tuple(dims) for dims in outputs] if len(call.shapes) > 1 else outputs[0]
    return along(call, x, axis)


@register_rule('aten.linalg_vector_norm', 'aten.norm')
def vector_norm(call: Call, x: Symbol, order: Any = 2, axes: Any = None, *_: Any, **__: Any) -> Any:
    """Reduce over dimensions, as `reduction`."""
    return reduction(call, x, axes)
