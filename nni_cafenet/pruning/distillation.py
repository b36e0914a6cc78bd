"""Distillation: a training step of any Lightning module also brings the outputs near those of the original network."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn

from ..supernet import loss_of
from ..utils import tensors_in

__all__ = ['distance', 'distilling']

_logger = logging.getLogger(__name__)

_LEAST_VARIANCE = 1e-4
"""As a share of the mean square."""


def distilling(module: LightningModule, teacher: nn.Module, weight: float = 1.0) -> LightningModule:
    """Return a copy of a module whose training steps also learn from a teacher.

    Parameters
    ----------
    module
        The user's module; whatever its ``training_step`` calls its ``model`` with, the teacher is called with too.
    teacher
        The original network. It is copied, and used in evaluation mode without gradients.
    weight
        What the `distance` of the outputs is multiplied with before it is added to the loss of the training step.

    Notes
    -----
    Only in training mode: scores and validation are those of the module itself. What the teacher says of a batch is kept
    until the next one, so min-min training calls it once a batch.
    """
    taught = copy.deepcopy(module)
    kind: Any = type(module)
    taught.__class__ = _with_distillation(kind)
    taught.__dict__['_teacher'] = _Teacher(teacher, weight)
    return taught


def distance(output: Any, wanted: Any) -> Tensor | None:
    """Return how far outputs are from wanted ones: 0 if equal, about 1 for a constant.

    The mean squared difference over the variance of what is wanted, averaged over the floating-point tensors that both
    have in the same places; None where there are none. For classifiers this is matching of logits (Ba and Caruana 2014).
    Where what is wanted hardly varies, a ten-thousandth of its mean square counts instead; where it is one number alone,
    as in the last batch of a regression may be, the distance is 0.
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
    """The original network, and what it said of the current batch."""

    def __init__(self, network: nn.Module, weight: float) -> None:
        self.weight = weight
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        self._batch: Any = None
        self._answers: list[Any] = []
        self._warned = False

    def __deepcopy__(self, memo: Any) -> _Teacher:
        return self  # it never changes

    def teach(self, output: Any, batch: Any, calls: list[_Call]) -> Any:
        """Return what a training step returned, with the distance to the teacher in its loss."""
        if self._batch is not batch:
            self._batch, self._answers = batch, [self._answer(call) for call in calls]
        distances = [distance(call.output, answer) for call, answer in zip(calls, self._answers)]
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
                'Nothing is distilled: in training the model returns no tensors that the original network returns in '
                'evaluation (detectors return losses), or the training step does not call it. distill=False is the same.'
            )


class _Call:
    """A call of the model."""

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
            with _calls_of(self.model) as calls:
                output = super().training_step(batch, *args, **kwargs)
            return output if output is None else self._teacher.teach(output, batch, calls)

    Distilling.__name__ = Distilling.__qualname__ = f'Distilling{kind.__name__}'
    return Distilling
