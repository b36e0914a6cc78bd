"""Width-dependent module attributes, split sizes and tables of positions."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['Attribute', 'ChannelKernel', 'Cut', 'DimSlice', 'PositionTable']


@dataclass(frozen=True)
class Attribute:
    """A module attribute that depends on a width, such as ``groups`` of a depthwise convolution.

    Its value is the size of dimension ``axis`` of ``parameter``, or of its positions ``span`` (start, stop), divided by
    ``divisor``. If the attribute is a container, ``keys`` lead to the number in it: keys of dicts, positions in sequences,
    names of fields.
    """

    module: str
    name: str
    parameter: str
    axis: int
    divisor: int
    keys: tuple[str | int, ...] = ()
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


@dataclass(frozen=True)
class PositionTable:
    """Positions of a dimension that a module keeps: an order of channels, or a choice, in a tensor, an array or a list.

    A slim model keeps what is left of them, counted anew.

    Parameters
    ----------
    module, name
        The module, and the name of its attribute.
    layout
        Index of the layout of the dimension.
    values
        The positions in the full model; negative ones count from the end.
    """

    module: str
    name: str
    layout: int
    values: tuple[int, ...]

    @property
    def path(self) -> str:
        """Name of the attribute in the model."""
        return f'{self.module}.{self.name}' if self.module else self.name
