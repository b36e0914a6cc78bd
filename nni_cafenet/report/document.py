"""Blocks of a page, independent of the output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ['Block', 'Code', 'Heading', 'Picture', 'Points', 'Table', 'Text']


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines of Python."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table; one with a summary ``folded`` is collapsed."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    folded: str | None = None


@dataclass(frozen=True)
class Picture:
    """A figure: file name, SVG document, alternative text and caption."""

    name: str
    svg: str
    alt: str
    caption: str


Block = Heading | Text | Points | Code | Table | Picture
