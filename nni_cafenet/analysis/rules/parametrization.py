"""Weights that a model computes from its parameters: weight and spectral normalization, fake quantization."""

from __future__ import annotations

from typing import Any

from ..constraints import Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten._weight_norm')
def weight_norm(call: Call, direction: Symbol, magnitude: Symbol, axis: int = 0) -> Dims:
    """Give every slice of a weight along one axis a length of its own; -1: the whole weight one length."""
    dims = list(direction.dims)
    if axis >= 0:
        dims[axis] = call.same(dims[axis], magnitude.dims[axis])
    for dim in dims:
        call.constraints.mix(dim)
    return dims


@register_rule('aten.mv')
def matrix_vector_product(call: Call, matrix: Symbol, vector: Symbol) -> Dims:
    """Multiply (m, k) by (k); not counted as MACs."""
    call.constraints.mix(call.same(matrix.dims[1], vector.dims[0]))
    return (matrix.dims[0],)


@register_rule('aten.dot', 'aten.vdot')
def dot_product(call: Call, left: Symbol, right: Symbol) -> Dims:
    """Multiply two vectors; not counted as MACs."""
    call.constraints.mix(call.same(left.dims[0], right.dims[0]))
    return ()


@register_rule('aten.fused_moving_avg_obs_fake_quant')
def observed_fake_quantization(
    call: Call, x: Symbol, observer_on: Any, quantizer_on: Any, low: Symbol, high: Symbol, *arguments: Any
) -> Dims:
    """Round to what a few bits can hold, after statistics of the whole tensor or of every position of one axis.

    Further arguments: scale, zero point, share of the new statistics, smallest and largest number, axis, whether the
    statistics are of every position.
    """
    scale, zero_point, _, _, _, axis, *by_position = arguments
    if not by_position or not by_position[0]:
        return x.dims
    dims = list(x.dims)
    for vector in (low, high, scale, zero_point):
        if vector.shape == (x.shape[axis],):
            dims[axis] = call.same(dims[axis], vector.dims[0])
        else:
            call.fix(
                dims[axis], reason='is fake-quantized by statistics that no forward in training mode has filled yet'
            )
    return dims


@register_rule('aten.fake_quantize_per_tensor_affine')
def fake_quantization(call: Call, x: Symbol, *_: Any) -> Dims:
    """Round to what a few bits can hold, everywhere alike."""
    return x.dims


@register_rule('aten.fake_quantize_per_channel_affine')
def fake_quantization_of_channels(call: Call, x: Symbol, scale: Symbol, zero_point: Symbol, axis: int, *_: Any) -> Dims:
    """Round to what a few bits can hold, every position of one axis by its own scale."""
    dims = list(x.dims)
    for vector in (scale, zero_point):
        dims[axis] = call.same(dims[axis], vector.dims[0])
    return dims
