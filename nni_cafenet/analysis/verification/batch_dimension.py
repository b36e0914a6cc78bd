"""The batch dimension of an example input, found by real forwards.

Samples are independent: in evaluation mode, a model returns for one sample alone what it returned for it in the batch.
Sequences of shape (time, batch, features), images without a batch, and tables next to a batch fail that test along
dimension 0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...errors import first_line
from ...graph import ExampleInput
from ...slicing import TensorSlots, call_with, using_mode
from ...utils import pass_on
from ..model_state import untouched
from .compare import same_sample
from .noiseless import EvaluationNoise
from .overrides import ValueOverride, replaced
from .probe_values import check_device, probe_inputs, probe_tensors

__all__ = ['with_known_batch']

_logger = logging.getLogger(__name__)

_BATCH_NORM = ('input', 'running_mean', 'running_var', 'weight', 'bias', 'training', 'momentum', 'eps')

_MOST = 4
"""Most tensors of one length that are tried alone."""

Dims = tuple[int | None, ...]


def with_known_batch(example: ExampleInput, model: nn.Module) -> ExampleInput:
    """Return an example input with ``batch_dims``, the dimension of the batch of each of its tensors.

    Parameters
    ----------
    example
        The example input.
    model
        What is called with it. It is left as it was, and only run where the example may have several samples.

    Raises
    ------
    ValueError
        If ``batch_dim`` is no dimension of the first tensor.
    """
    if example.batch_dims is not None:
        return example
    tensors = example.tensors()
    if example.images:
        named = _Independence(model, example)
        if len(example.images) == 1 or named.runs_on_one():
            return example
        return _whole(example, model, named.problem)
    if example.batch_dim != 'auto':
        most = max((tensor.dim() for tensor in tensors), default=0)
        if example.batch_dim is not None and (type(example.batch_dim) is not int or not 0 <= example.batch_dim < most):
            raise ValueError(
                f'batch_dim={example.batch_dim!r} is no dimension of a tensor of example_input ({example.describe()}). '
                "Give its number, None if the whole example is one sample, or 'auto'."
            )
        dims = example.dims_along(example.batch_dim)
        if replace(example, batch_dims=dims).batch_size > 1:
            named = _Independence(model, example)
            if named(dims) is None:
                return _whole(example, model, named.problem)
        return replace(example, batch_dims=dims)
    test = _Independence(model, example)
    runs_with_less = False
    for dim in (0, 1):
        for dims in _candidates(example, dim):
            size = replace(example, batch_dims=dims).batch_size
            if size == 1:
                return replace(example, batch_dims=dims)
            verdict = test(dims)
            if verdict:
                return replace(example, batch_dims=dims)
            runs_with_less = runs_with_less or verdict is False
        if not runs_with_less:
            break  # a picture without a batch: its dimension 1 is none either
    if test.coupled is not None:
        _logger.warning(
            'Samples of example_input (%s) depend on each other in %s. Costs are those of one alone.',
            example.describe(),
            type(model).__name__,
        )
        return replace(example, batch_dims=test.coupled)
    if tensors and any(tensor.dim() for tensor in tensors):
        _logger.warning(
            'Costs are those of the whole example_input (%s): no dimension of it is a batch whose samples %s '
            'computes one by one%s. If it has a batch, name it: example_input=ExampleInput(args, kwargs, batch_dim=...).',
            example.describe(),
            type(model).__name__,
            f' ({test.problem})' if test.problem else '',
        )
    return replace(example, batch_dims=(None,) * len(tensors))


def _whole(example: ExampleInput, model: nn.Module, problem: str) -> ExampleInput:
    _logger.warning(
        'Costs are those of the whole example_input (%s): %s does not run on one sample of it (%s).',
        example.describe(),
        type(model).__name__,
        problem,
    )
    return replace(example, batch_dims=(None,) * len(example.tensors()))


def _candidates(example: ExampleInput, dim: int) -> Iterator[Dims]:
    """Yield possible batches along a dimension: all tensors of one length, in order, or one of them alone."""
    sizes = [tensor.shape[dim] for tensor in example.tensors() if tensor.dim() > dim]
    for size in dict.fromkeys(sizes):
        dims = example.dims_along(dim, size)
        yield dims
        along = [index for index, each in enumerate(dims) if each is not None]
        for alone in along[:_MOST] if size > 1 and len(along) > 1 else ():
            yield tuple(dim if index == alone else None for index in range(len(dims)))


class _Independence:
    """Tests whether samples along given dimensions are independent.

    Attributes
    ----------
    problem : str
        Why the model could not be run on one sample.
    coupled : tuple or None
        A batch by its shapes (images, with as many outputs) although its samples depend on each other.
    """

    def __init__(self, model: nn.Module, example: ExampleInput) -> None:
        self.problem = ''
        self.coupled: Dims | None = None
        self._model = model
        self._device = check_device(model)
        if any(parameter.is_meta for parameter in model.parameters()):
            example = probe_inputs(example, self._device)
        self._examples = [example.map(_varied), example]
        self._stand_ins: dict[str, Tensor] | None = None
        self._noise = EvaluationNoise()
        self._whole: tuple[ExampleInput, list[Tensor]] | None = None

    def __call__(self, dims: Dims) -> bool | None:
        """Return whether the samples are independent; None if the model does not run on one of them."""
        try:
            example, whole = self._run_whole()
            example = replace(example, batch_dims=dims)
            size = example.batch_size
            for sample in (-1, 0):
                one = self._run(example.with_batch(1, sample))
                if not _is_part(one, whole, size, sample, values=self._device.type != 'meta'):
                    pictures = 0 in dims and example.tensors()[dims.index(0)].dim() > 3
                    if self.coupled is None and pictures and _is_part(one, whole, size, sample, values=False):
                        self.coupled = dims
                    return False
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            pass_on(error)
            self.problem = f'it fails with {type(error).__name__}: {first_line(error)}'
            return None
        return True

    def runs_on_one(self) -> bool:
        """Whether the model runs on the first sample alone."""
        try:
            self._run(self._examples[1].with_batch(1))
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            pass_on(error)
            self.problem = f'it fails with {type(error).__name__}: {first_line(error)}'
            return False
        return True

    def _run_whole(self) -> tuple[ExampleInput, list[Tensor]]:
        if self._whole is None:
            try:
                self._whole = self._examples[0], self._run(self._examples[0])
            except Exception as error:  # noqa: BLE001 - the user's code may insist on the example's own numbers
                pass_on(error)
                self._whole = self._examples[1], self._run(self._examples[1])
        return self._whole

    def _run(self, example: ExampleInput) -> list[Tensor]:
        if self._stand_ins is None:
            self._stand_ins = probe_tensors(self._model, self._device)
        places = TensorSlots(self._model)
        change = replaced(self._stand_ins)
        buffers = {name: change(name, buffer).clone() for name, buffer in places.buffers().items()}
        inputs = example.fresh()
        with untouched(self._model) as state, using_mode(self._model, training=False), torch.no_grad():
            torch.manual_seed(0)  # brought back by `untouched`
            with state.watching(), self._noise.left_out(), ValueOverride(places.parameters(), change), _OwnStatistics():
                output = call_with(self._model, buffers, inputs.args, inputs.kwargs, places)
            self._noise.note_whole_run()
            return [tensor for _, tensor in example.outputs_in(output)]


class _OwnStatistics(TorchFunctionMode):
    """Normalize by fixed statistics where batch normalization has no running ones, which would tie the samples."""

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        if function is nn.functional.batch_norm:
            given = {**dict(zip(_BATCH_NORM, args)), **(kwargs or {})}
            if given.get('training') and given.get('running_mean') is None:
                zeros = given['input'].new_zeros(given['input'].shape[1])
                given.update(running_mean=zeros, running_var=zeros + 1, training=False)
                return function(**given)
        return function(*args, **(kwargs or {}))


def _varied(tensor: Tensor) -> Tensor:
    """Return a tensor whose samples differ."""
    if tensor.is_meta or tensor.numel() < 2:
        return tensor
    generator = torch.Generator().manual_seed(1)
    if tensor.is_floating_point() or tensor.is_complex():
        noise = torch.rand(tensor.shape, generator=generator).to(tensor)
        if bool((tensor == tensor.reshape(-1)[0]).all()):
            return tensor + noise
        return tensor * (1 + 0.1 * noise)
    if tensor.dtype is torch.bool:
        return tensor
    lowest, highest = int(tensor.min()), int(tensor.max())
    if lowest < 0:
        return tensor
    drawn = torch.randint(lowest, max(highest, lowest + 1) + 1, tensor.shape, generator=generator)
    return drawn.to(tensor)


def _is_part(one: Sequence[Tensor], whole: Sequence[Tensor], size: int, sample: int, *, values: bool) -> bool:
    """Whether the outputs for one sample equal its part of the outputs for the batch."""
    if len(one) * size == len(whole) and len(one) != len(whole):  # a list with an entry a sample
        first = 0 if sample == 0 else len(whole) - len(one)
        return all(same_sample(left, right, values=values) for left, right in zip(one, whole[first:]))
    if len(one) != len(whole):
        return False
    follows = False
    for left, right in zip(one, whole):
        axes = [axis for axis, (few, many) in enumerate(zip(left.shape, right.shape)) if few != many]
        if left.dim() != right.dim() or len(axes) > 1:
            return False
        if axes:
            (axis,) = axes
            length = left.shape[axis]
            if length * size != right.shape[axis]:
                return False
            right = right.narrow(axis, 0 if sample == 0 else right.shape[axis] - length, length)
            follows = True
        if not same_sample(left, right, values=values):
            return False
    return follows
