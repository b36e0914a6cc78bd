"""Fourier transforms and complex numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constraints import Symbol
from .pointwise import broadcast, elementwise
from .registry import Call, Dims, register_rule

register_rule(*(f'aten.{name}' for name in 'real imag angle sgn conj _conj conj_physical _neg_view'.split()))(
    elementwise
)
register_rule('aten.conj_physical_', 'aten.sgn_')(elementwise)
register_rule('aten.complex', 'aten.polar')(broadcast)


@register_rule('aten.view_as_complex')
def as_complex(call: Call, x: Symbol) -> Dims:
    """Join the last dimension, a real and an imaginary part, to one number."""
    call.fix(x.dims[-1], reason='')
    return x.dims[:-1]


@register_rule('aten.view_as_real')
def as_real(call: Call, x: Symbol) -> Dims:
    """Take every number apart into a real and an imaginary part, a new last dimension."""
    return (*x.dims, None)


@register_rule(*(f'aten.fft_{name}' for name in 'fft ifft rfft irfft hfft ihfft'.split()))
def transform(call: Call, x: Symbol, size: int | None = None, axis: int = -1, *_: Any, **__: Any) -> Dims:
    """Transform along one dimension, which cannot change: each of its positions is a frequency afterwards."""
    return call.without(x, [axis], _reason(call))


@register_rule(*(f'aten.fft_{name}' for name in 'fft2 ifft2 rfft2 irfft2 hfft2 ihfft2'.split()))
def transform_of_two(
    call: Call, x: Symbol, sizes: Any = None, axes: Sequence[int] = (-2, -1), *_: Any, **__: Any
) -> Dims:
    """Transform along two dimensions, as `transform`."""
    return call.without(x, axes, _reason(call))


@register_rule(*(f'aten.fft_{name}' for name in 'fftn ifftn rfftn irfftn hfftn ihfftn'.split()))
def transform_of_several(
    call: Call, x: Symbol, sizes: Any = None, axes: Sequence[int] | None = None, *_: Any, **__: Any
) -> Dims:
    """Transform along dimensions, by default the last that have sizes or all; as `transform`."""
    if axes is None:
        axes = range(len(x.shape)) if sizes is None else range(-len(sizes), 0)
    return call.without(x, axes, _reason(call))


@register_rule('aten.fft_fftshift', 'aten.fft_ifftshift')
def shift(call: Call, x: Symbol, axes: Sequence[int] | None = None) -> Dims:
    """Put the frequency zero into the middle of dimensions, by default of all; as `transform`."""
    return call.without(x, range(len(x.shape)) if axes is None else axes, _reason(call))


@register_rule('aten.stft', 'aten.istft')
def short_time_transform(call: Call, x: Symbol, *_: Any, **__: Any) -> Dims:
    """Turn signals (N, time) into (N, frequencies, frames), or back; with ``return_complex=False`` parts come last."""
    batched = len(x.shape) > 1 if call.operator == 'aten.stft' else len(call.shape) > 1
    call.fix(*x.dims[int(batched) :], reason=_reason(call))
    return (*x.dims[: int(batched)], *(None,) * (len(call.shape) - int(batched)))


def _reason(call: Call) -> str:
    return f'is transformed by {call.operator}'
