"""Width-dependent module attributes and split sizes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['Attribute', 'ChannelKernel', 'Cut', 'DimSlice']


@dataclass(frozen=True)
class Attribute:
    """A module attribute that depends on a width, such as ``groups`` of a depthwise convolution.

    Its value is the size of dimension ``axis`` of ``parameter``, or of its positions ``span`` (start, stop), divided by
    ``divisor``. ``index`` is the element's index if the attribute is a tuple or list.
    """

    module: str
    name: str
    parameter: str
    axis: int
    divisor: int
    index: int | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class ChannelKernel:
    """A kernel along channels: dimension ``axis`` of ``parameter``, whose entry ``center`` meets the channel itself."""

    parameter: str
    axis: int
    center: int


@dataclass(frozen=True)
class DimSlice:
    """Positions ``start:stop`` of one dimension of a parameter."""

    parameter: str
    axis: int
    start: int
    stop: int


@dataclass(frozen=True)
class Cut:
    """Sizes into which an operator splits a dimension, and the source of each part; None for several sources."""

    lengths: tuple[int, ...]
    parts: tuple[DimSlice | None, ...]
