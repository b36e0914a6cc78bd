"""The example input: arguments of one call of the model, and what counts of its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from ..utils import map_tensors, tensors_in
from .outputs import Outputs, check_outputs, counted_outputs

__all__ = ['ExampleInput']


@dataclass(frozen=True)
class ExampleInput:
    """Positional and keyword arguments of one call of a model.

    Costs are given for one sample: the same arguments with a batch of one.

    - If the first argument is a list of 3-dimensional tensors (images), each of them is a sample.
    - Otherwise dimension 0 of the first tensor, and of all tensors of that length, is the batch if real forwards show
      that its entries are independent; failing that, dimension 0 of another tensor, or dimension 1 (sequences of shape
      (time, batch, features)).
    - Otherwise the whole example is one sample, with a warning.

    Parameters
    ----------
    args
        Positional arguments.
    kwargs
        Keyword arguments.
    batch_dim
        The batch dimension of all tensors of equal length along it; None: the whole example is one sample; ``'auto'``
        (default): as above. If the model does not run on one sample, the whole example is one, with a warning.
    batch_dims
        The batch dimension of each tensor, in the order of `tensors`, or None; set by the analysis.
    outputs
        The outputs that keep their sizes: a list of names or paths (``['logits']``, ``['past_key_values[0]']``), or a
        function that returns them, given the output. None: all; of a Hugging Face ``ModelOutput`` with a loss or logits not
        its caches, hidden states and attention maps.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch_dim: int | None | str = 'auto'
    batch_dims: tuple[int | None, ...] | None = None
    outputs: Outputs = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'outputs', check_outputs(self.outputs))

    @classmethod
    def of(cls, example: Any, model: nn.Module) -> ExampleInput:
        """Convert a user's ``example_input``.

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
        ValueError
            If a shape has a size below 1, or a tensor is empty.
        """
        if isinstance(example, cls):
            return example
        if isinstance(example, torch.Size) or _is_shape(example):
            wrong = next((size for size in example if _is_flag(size) or size < 1), None)
            if wrong is not None:
                raise ValueError(
                    f'example_input={tuple(example)!r} is not a valid shape: {wrong!r} must be 1 or more. Dimension 0 '
                    'is the batch.'
                )
            return cls((_normal(tuple(map(int, example)), model),), {})
        if isinstance(example, torch.Tensor):
            if example.dim() > 0 and example.numel() == 0:
                raise ValueError(f'example_input is an empty tensor of shape {tuple(example.shape)}.')
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
        """Number of samples along the batch dimension or in the list of images; 1 without a batch."""
        if self.images:
            return len(self.images)
        sizes = (tensor.shape[dim] for tensor, dim in zip(self.tensors(), self._batch_dims) if dim is not None)
        return int(next(sizes, 1))

    @property
    def _batch_dims(self) -> tuple[int | None, ...]:
        """The batch dimension of each tensor."""
        if self.batch_dims is not None:
            return self.batch_dims
        return self.dims_along(0 if self.batch_dim == 'auto' else self.batch_dim)

    def dims_along(self, dim: Any, size: int | None = None) -> tuple[int | None, ...]:
        """Return ``dim`` for each tensor of length ``size`` (default: the first tensor's) along it, else None."""
        tensors = self.tensors()
        if dim is None:
            return (None,) * len(tensors)
        sizes = [tensor.shape[dim] if tensor.dim() > dim else None for tensor in tensors]
        size = next((each for each in sizes if each is not None), None) if size is None else size
        return tuple(dim if each is not None and each == size else None for each in sizes)

    @property
    def images(self) -> list[Any]:
        """The first argument if it is a list of images, else an empty list."""
        if self.batch_dims is not None:
            return []
        first = self.args[0] if self.args else None
        if isinstance(first, list) and all(isinstance(item, torch.Tensor) and item.dim() == 3 for item in first):
            return first
        return []

    def tensors(self) -> list[torch.Tensor]:
        """Return the tensors in the arguments, nested ones included, in order."""
        return tensors_in((self.args, self.kwargs))

    def outputs_in(self, output: Any) -> list[tuple[str, torch.Tensor]]:
        """Return the tensors that count of a model's output, with their paths."""
        return counted_outputs(output, self.outputs)

    def map(self, function: Any) -> ExampleInput:
        """Return the same arguments with ``function`` applied to every tensor."""
        args, kwargs = map_tensors(function, (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs)

    def fresh(self) -> ExampleInput:
        """Return a copy for one call, since models may modify their inputs."""
        return self.map(lambda tensor: tensor.detach().clone())

    def to_model(self, model: nn.Module) -> ExampleInput:
        """Return the arguments on a model's device, floating-point ones in its dtype."""
        own = next((each for each in model.parameters() if each.is_floating_point()), torch.empty(0))
        return self.map(lambda tensor: tensor.to(own) if tensor.is_floating_point() else tensor.to(own.device))

    def with_batch_of_two(self) -> ExampleInput:
        """Return arguments with at least two samples, as batch normalization in training mode needs."""
        return self if self.batch_size > 1 else self.with_batch(2)

    def with_batch(self, size: int, sample: int = 0) -> ExampleInput:
        """Return arguments with sample number ``sample`` repeated ``size`` times; tensors without batch are unchanged."""
        if self.images:
            many = len(self.images)
            args = [[arg[sample]] * size if isinstance(arg, list) and len(arg) == many else arg for arg in self.args]
            return replace(self, args=tuple(args))
        dims = {id(tensor): dim for tensor, dim in zip(self.tensors(), self._batch_dims)}
        samples = range(self.batch_size)

        def resized(tensor: torch.Tensor) -> torch.Tensor:
            dim = dims[id(tensor)]
            if dim is None:
                return tensor
            return torch.cat([tensor.detach().narrow(dim, samples[sample], 1)] * size, dim)

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
