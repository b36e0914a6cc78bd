"""The size of a detector's pictures: torchvision's detectors resize what they get, so it is an option of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ...errors import ModelSpecError
from ..data import longest_side
from ..loading import torchvision_name

__all__ = ['check_picture_size', 'picture_size', 'size_arguments']


def size_arguments(name: str, shape: Sequence[int] | None) -> dict[str, int]:
    """Return the arguments by which a detector of torchvision resizes pictures to an input; empty for other models.

    The shorter side of a picture becomes that of the input; the longer one is limited, as by default, to 1333/800 of it.
    """
    if shape is None or len(shape) != 4 or not _resizes_by_arguments(name):
        return {}
    height, width = shape[2:]
    return {'min_size': min(height, width), 'max_size': longest_side(height, width)}


def picture_size(model: nn.Module) -> tuple[int, int] | None:
    """Return the height and width to which a detector resizes a square picture; None for other models."""
    transform: Any = getattr(model, 'transform', None)
    if getattr(transform, 'fixed_size', None) is not None:
        width, height = transform.fixed_size
        return height, width
    sides = getattr(transform, 'min_size', None)
    return (sides[-1], sides[-1]) if sides else None


def check_picture_size(name: str, model: nn.Module, shape: Sequence[int]) -> None:
    """Raise ModelSpecError if a detector resizes all pictures to another size than the input's, such as an SSD."""
    if getattr(getattr(model, 'transform', None), 'fixed_size', None) is None:
        return
    size = picture_size(model)
    if size is not None and tuple(shape[2:]) != size:
        height, width = size
        asked = ' x '.join(map(str, shape[2:]))
        raise ModelSpecError(
            f'model {name!r}: resizes every picture to {height} x {width}, but --input says {asked}; '
            f'give --input 1 3 {height} {width}, or omit it'
        )


def _resizes_by_arguments(name: str) -> bool:
    from torchvision import models

    known = torchvision_name(name)
    home = '' if known is None else models.get_model_builder(known).__module__
    # The size of an SSD is that of its anchors.
    return home.startswith('torchvision.models.detection.') and not home.rpartition('.')[2].startswith('ssd')
