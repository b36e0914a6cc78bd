"""Weights computed from parameters: weight and spectral normalization, fake quantization."""

from __future__ import annotations

from typing import Any

from ..constraints import Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten._weight_norm')
def weight_norm(call: Call, direction: Symbol, magnitude: Symbol, axis: int = 0) -> Dims:
    """Normalize every slice of a weight along one axis; axis -1: the whole weight."""
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
    """Fake-quantize by statistics of the whole tensor or of every position of one axis.

    Further arguments: scale, zero point, averaging constant, smallest and largest integer, axis, whether statistics are
    per position.
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
    """Fake-quantize with one scale."""
    return x.dims


@register_rule('aten.fake_quantize_per_channel_affine')
def fake_quantization_of_channels(call: Call, x: Symbol, scale: Symbol, zero_point: Symbol, axis: int, *_: Any) -> Dims:
    """Fake-quantize with one scale per position of an axis."""
    dims = list(x.dims)
    for vector in (scale, zero_point):
        dims[axis] = call.same(dims[axis], vector.dims[0])
    return dims
