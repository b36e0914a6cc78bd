"""Numbers of modules that follow widths, and sizes that operators cut dimensions into."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['Attribute', 'Cut', 'DimSlice']


@dataclass(frozen=True)
class Attribute:
    """A number that a module keeps and that follows a width, such as ``groups`` of a depthwise convolution.

    Its value is the size of dimension ``axis`` of ``parameter``, or of the positions ``span`` of it (from, to), divided
    by ``divisor``. ``index`` names the element where the module keeps the number in a tuple or a list.
    """

    module: str
    name: str
    parameter: str
    axis: int
    divisor: int
    index: int | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class DimSlice:
    """Positions of a dimension of a parameter: from ``start`` to before ``stop``."""

    parameter: str
    axis: int
    start: int
    stop: int


@dataclass(frozen=True)
class Cut:
    """Sizes of parts that an operator cuts a dimension into, and where their positions come from; None: from several."""

    lengths: tuple[int, ...]
    parts: tuple[DimSlice | None, ...]
