"""What is done to pictures and their boxes, by torchvision's transforms v2."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from .pixels import longest_side

__all__ = ['BoxTransform']


class BoxTransform:
    """Transforms a picture and its boxes (N, 4): left, top, right, bottom in pixels.

    ``limit``: height and width of the network's input, to which larger pictures are shrunk, keeping their proportions (see
    `longest_side`). None: no limit. ``crop``: the smallest share of a picture that a random crop around boxes takes, as for
    SSD. ``flip``: mirror at random.
    """

    def __init__(self, limit: tuple[int, int] | None, *, crop: float | None = None, flip: bool = False) -> None:
        self.limit = limit
        self.crop = None if crop is None else v2.RandomIoUCrop(min_scale=math.sqrt(crop))
        self.flip = v2.RandomHorizontalFlip() if flip else None
        self.finish = v2.Compose(
            [
                v2.ClampBoundingBoxes(),
                v2.ToImage(),
                v2.ToDtype({tv_tensors.Image: torch.float32, 'others': None}, scale=True),
                v2.ToPureTensor(),
            ]
        )

    def __call__(self, picture: Any, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return a picture (3, height, width) between 0 and 1, and its boxes; those that are cropped away are empty."""
        size: Any = (picture.height, picture.width)
        found: Any = tv_tensors.BoundingBoxes(boxes, format='XYXY', canvas_size=size)
        if self.crop is not None and len(boxes):
            picture, found = self.crop(picture, found)
        if self.flip is not None:
            picture, found = self.flip(picture, found)
        if self.limit is not None:
            picture, found = _shrunk(picture, found, self.limit)
        picture, found = self.finish(picture, found)
        return picture, found


def _shrunk(picture: Any, boxes: Any, limit: tuple[int, int]) -> tuple[Any, Any]:
    height, width = picture.height, picture.width
    scale = min(min(limit) / min(height, width), longest_side(*limit) / max(height, width))
    if scale >= 1:
        return picture, boxes
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    return v2.functional.resize(picture, size, antialias=True), v2.functional.resize(boxes, size)
