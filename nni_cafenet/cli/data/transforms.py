"""What is done to single pictures in training and in validation, by torchvision's transforms v2."""

from __future__ import annotations

from typing import Any

from ...options import TrainingRecipe
from .pixels import Pixels

__all__ = ['evaluation_transform', 'training_transform']

_OPERATIONS = 2
_PADDING = 4


def training_transform(
    pixels: Pixels, recipe: TrainingRecipe, *, crop: float | tuple[int, int] | None, flip: bool = True
) -> Any:
    """Return the transform of a training picture to a tensor (channels, height, width).

    ``crop`` is the smallest share of a random crop, or the size of the pictures, which are then padded by 4 pixels and
    cropped to that size; None: no crop. ``crop_scale`` of the recipe replaces it. ``flip``: mirror at random.
    """
    from torchvision.transforms import v2

    size = (pixels.height, pixels.width)
    share = crop if recipe.crop_scale is None else recipe.crop_scale
    steps: list[Any] = []
    if isinstance(share, float):
        steps.append(v2.RandomResizedCrop(size, scale=(share, 1.0), antialias=True))
    elif share is not None:
        steps.append(v2.RandomCrop(share, padding=_PADDING))
    if not isinstance(share, float) and share != size:
        steps.append(v2.Resize(size, antialias=True))
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if recipe.randaugment is not None:
        steps.append(v2.RandAugment(num_ops=_OPERATIONS, magnitude=recipe.randaugment))
    steps += _to_tensor(pixels)
    if recipe.random_erasing:
        steps.append(v2.RandomErasing(p=recipe.random_erasing))
    return v2.Compose(steps)


def evaluation_transform(pixels: Pixels, *, whole: bool = False) -> Any:
    """Return the transform of a picture for validation and scores: its center; ``whole``: all of it."""
    from torchvision.transforms import v2

    size = (pixels.height, pixels.width)
    shrunk = (
        [v2.Resize(size, antialias=True)] if whole else [v2.Resize(pixels.resize, antialias=True), v2.CenterCrop(size)]
    )
    return v2.Compose([*shrunk, *_to_tensor(pixels)])


def _to_tensor(pixels: Pixels) -> list[Any]:
    import torch
    from torchvision.transforms import v2

    gray = [v2.Grayscale()] if pixels.channels == 1 else []
    return [
        *gray,
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(pixels.mean, pixels.std),
        v2.ToPureTensor(),
    ]
