"""What the benchmark knows of a package of models beside torchvision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Arguments = tuple[Any, ...] | dict[str, Any]
"""What a model is called with: positional or keyword arguments."""

Shape = tuple[int, ...]


def samples(shape: Shape, batch: int, dtype: torch.dtype) -> Arguments:
    """Return seeded normal values of a shape, a batch of them, as the only argument."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn((batch, *shape), generator=generator).to(dtype),)


@dataclass(frozen=True)
class Library:
    """A package of models.

    Parameters
    ----------
    package
        What is imported.
    shapes
        Returns the shape of one sample of each model, by the model's name.
    make
        Returns a model of fresh weights, given its name; no network is needed.
    arguments
        Returns what a model is called with, given its name, the shape of a sample, the size of a batch and the type of
        floating-point values.
    outputs
        What counts of the outputs of a model, given its name; see `nni_cafenet.graph.ExampleInput`.
    """

    package: str
    shapes: Callable[[], dict[str, Shape]]
    make: Callable[[str], nn.Module]
    arguments: Callable[[str, Shape, int, torch.dtype], Arguments] = lambda _, *rest: samples(*rest)
    outputs: Callable[[str], Any] = lambda _: None
