"""Knowledge distillation from the original network, added to the training step of any Lightning module."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn

from ..supernet import loss_of
from ..utils import tensors_in

__all__ = ['distance', 'distilling']

_logger = logging.getLogger(__name__)

_LEAST_VARIANCE = 1e-4
"""Minimum variance of the targets, relative to their mean square."""


def distilling(module: LightningModule, teacher: nn.Module, weight: float = 1.0) -> LightningModule:
    """Return a copy of a module whose training steps include distillation from a teacher, the original network.

    The teacher is copied, runs in evaluation mode without gradients, and is called with the inputs that the module's
    ``training_step`` passes to ``model``. ``weight`` is that of the `distance` between outputs in the training loss.
    Distillation applies in training mode only, not to scores and validation. The teacher's outputs are cached per
    batch, so min-min training calls it once.
    """
    taught = copy.deepcopy(module)
    kind: Any = type(module)
    taught.__class__ = _with_distillation(kind)
    taught.__dict__['_teacher'] = _Teacher(teacher, weight)
    return taught


def distance(output: Any, wanted: Any) -> Tensor | None:
    """Return the relative squared error of outputs: 0 if equal, about 1 for a constant output.

    It is the mean squared difference divided by the variance of the target, averaged over matching floating-point
    tensors; None if there are none. For classifiers, this is logit matching (Ba and Caruana 2014). The variance is at
    least 1e-4 of the target's mean square; for a target with a single element, the distance is 0.
    """
    pairs = list(zip(tensors_in(output), tensors_in(wanted)))
    terms = [_relative(one.float(), other.detach().float()) for one, other in pairs if _comparable(one, other)]
    return torch.stack(terms).mean() if terms else None


def _relative(one: Tensor, other: Tensor) -> Tensor:
    squares = (one - other).square().mean()
    if other.numel() == 1:
        return 0 * squares
    least = _LEAST_VARIANCE * other.square().mean() + torch.finfo(other.dtype).eps
    return squares / torch.maximum(other.var(correction=0), least)


def _comparable(a: Tensor, b: Tensor) -> bool:
    return a.is_floating_point() and b.is_floating_point() and a.shape == b.shape and a.numel() > 0


class _Teacher:
    """The original network with a cache of its outputs for the current batch."""

    def __init__(self, network: nn.Module, weight: float) -> None:
        self.weight = weight
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        self._warned = False

    def __deepcopy__(self, memo: Any) -> _Teacher:
        return self  # immutable

    def teach(self, output: Any, batch: Any, calls: list[_Call]) -> Any:
        """Add the distance to the teacher to the loss that a training step returned."""
        known_batch, answers = _answers.get(self, (None, []))
        if known_batch is not batch:
            answers = [self._answer(call) for call in calls]
            _answers[self] = batch, answers
        distances = [distance(call.output, answer) for call, answer in zip(calls, answers)]
        known = [each for each in distances if each is not None]
        if not known:
            self._warn()
            return output
        loss = loss_of(output) + self.weight * torch.stack(known).mean()
        return {**output, 'loss': loss} if isinstance(output, Mapping) else loss

    def _answer(self, call: _Call) -> Any:
        tensor = next(iter(tensors_in((call.args, call.kwargs))), None)
        if tensor is not None:
            self._network.to(tensor.device)
        with torch.no_grad():
            return self._network(*call.args, **call.kwargs)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning(
                'No distillation takes place: the training step does not call the model, or the model returns no tensors '
                'in training that match those in evaluation (detectors return losses). Use distill=False.'
            )


_answers: WeakKeyDictionary[_Teacher, tuple[Any, list[Any]]] = WeakKeyDictionary()
"""The batch that a teacher saw last, and its outputs; not among its attributes, which tell what it is."""


class _Call:
    """Inputs and output of a call of the model."""

    def __init__(self, args: Any, kwargs: Any, output: Any) -> None:
        self.args, self.kwargs, self.output = args, kwargs, output


@contextmanager
def _calls_of(model: nn.Module) -> Iterator[list[_Call]]:
    calls: list[_Call] = []
    hook = model.register_forward_hook(
        lambda module, args, kwargs, output: calls.append(_Call(args, kwargs, output)), with_kwargs=True
    )
    try:
        yield calls
    finally:
        hook.remove()


@cache
def _with_distillation(kind: Any) -> Any:
    class Distilling(kind):  # type: ignore[misc]
        def training_step(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.training:
                return super().training_step(batch, *args, **kwargs)
            model: Any = getattr(self, 'called_model', self.model)
            with _calls_of(model) as calls:
                output = super().training_step(batch, *args, **kwargs)
            return output if output is None else self._teacher.teach(output, batch, calls)

    Distilling.__name__ = Distilling.__qualname__ = f'Distilling{kind.__name__}'
    return Distilling
