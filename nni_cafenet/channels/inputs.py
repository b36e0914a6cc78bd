"""The example input: what a model is called with while it is analysed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from .structures import map_tensors, tensors_in

__all__ = ['ExampleInput']


@dataclass(frozen=True)
class ExampleInput:
    """Positional and keyword arguments of one call of a model.

    Dimension 0 of the first tensor is taken for the batch: costs are given for one sample of it. Where the first argument
    is a list of tensors of three dimensions (pictures), each of them is a sample.

    Parameters
    ----------
    args
        Positional arguments.
    kwargs
        Keyword arguments.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example: Any, model: nn.Module) -> ExampleInput:
        """Read what a user may give as ``example_input``.

        Parameters
        ----------
        example
            A shape such as ``(1, 3, 224, 224)`` (filled with seeded normal values), a tensor, a tuple or list of
            positional arguments, a dict of keyword arguments, or an ``ExampleInput``. A named tuple or a dataclass is
            one positional argument.
        model
            Gives the device and the floating-point type of inputs made from a shape.

        Raises
        ------
        TypeError
            If ``example`` is none of these.
        """
        if isinstance(example, cls):
            return example
        if isinstance(example, torch.Size) or _is_shape(example):
            wrong = next((size for size in example if _is_flag(size) or size < 1), None)
            if wrong is not None:
                raise ValueError(
                    f'example_input={tuple(example)!r} is no shape of an input: {wrong!r} must be 1 or more. Dimension 0 '
                    'is the batch.'
                )
            return cls((_normal(tuple(map(int, example)), model),), {})
        if isinstance(example, torch.Tensor):
            if example.dim() > 0 and example.numel() == 0:
                raise ValueError(f'example_input is a tensor of shape {tuple(example.shape)}, without a value.')
            return cls((example,), {})
        if dataclasses.is_dataclass(example) and not isinstance(example, type):
            return cls((example,), {})
        if isinstance(example, Mapping):
            return cls((), dict(example))
        if isinstance(example, tuple) and hasattr(example, '_fields'):
            return cls((example,), {})
        if isinstance(example, (tuple, list)) and not all(isinstance(part, (Real, type(None))) for part in example):
            return cls(tuple(example), {})
        raise TypeError(
            f'example_input={example!r} cannot be used. Give a shape such as (1, 3, 224, 224), a tensor, a tuple of '
            'positional arguments or a dict of keyword arguments.'
        )

    @property
    def batch_size(self) -> int:
        """Size of dimension 0 of the first tensor, or the number of pictures in a list of them; 1 where there is none."""
        if self._pictures:
            return len(self._pictures)
        for tensor in self.tensors():
            if tensor.dim() > 0:
                return int(tensor.shape[0])
        return 1

    @property
    def _pictures(self) -> list[Any]:
        """The first argument, if it is a list of tensors of three dimensions; empty if not."""
        first = self.args[0] if self.args else None
        if isinstance(first, list) and all(isinstance(item, torch.Tensor) and item.dim() == 3 for item in first):
            return first
        return []

    def tensors(self) -> list[torch.Tensor]:
        """Return the tensors among the arguments, in order, those inside containers and objects too."""
        return tensors_in((self.args, self.kwargs))

    def map(self, function: Any) -> ExampleInput:
        """Return the same arguments with ``function`` applied to every tensor."""
        args, kwargs = map_tensors(function, (self.args, self.kwargs))
        return ExampleInput(args, kwargs)

    def fresh(self) -> ExampleInput:
        """Return copies for one call: a model may write into its inputs."""
        return self.map(lambda tensor: tensor.detach().clone())

    def with_batch_of_two(self) -> ExampleInput:
        """Return arguments with at least two samples (batch normalisation in training mode needs two values)."""
        if self.batch_size > 1:
            return self
        if self._pictures:
            return ExampleInput((self._pictures * 2, *self.args[1:]), self.kwargs)
        return self.map(lambda tensor: torch.cat([tensor, tensor]) if tensor.dim() > 0 else tensor)

    def with_batch(self, size: int) -> ExampleInput:
        """Return arguments with so many samples: the first one, repeated; what is no batch stays as it is."""
        if self._pictures:
            return ExampleInput((self._pictures[:1] * size, *self.args[1:]), self.kwargs)
        batch = self.batch_size

        def resized(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dim() == 0 or tensor.shape[0] != batch:
                return tensor
            return torch.cat([tensor[:1].detach()] * size)

        return self.map(resized)

    def describe(self) -> str:
        """Return the shapes, for messages."""
        return ', '.join(str(tuple(tensor.shape)) for tensor in self.tensors()) or 'no tensor'


def _is_shape(example: Any) -> bool:
    return (
        isinstance(example, (tuple, list)) and len(example) > 0 and all(isinstance(size, Integral) for size in example)
    )


def _is_flag(size: Any) -> bool:
    return isinstance(size, bool)


def _normal(shape: tuple[int, ...], model: nn.Module) -> torch.Tensor:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return values.to(device=parameter.device, dtype=parameter.dtype)
