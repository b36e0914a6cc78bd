"""What of a user's training step a score needs: all of it, unless the step is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nni.nas.evaluator.pytorch.lightning import LightningModule, SupervisedLearningModule

__all__ = ['Step', 'draws_nothing', 'loss_step', 'statistics_step']

Step = Callable[[Any, int], Any]
"""``(batch, index) -> what a training step returns``."""

_KNOWN = ('torch', 'torchmetrics', 'nni')


def statistics_step(module: LightningModule) -> Step:
    """Return what changes running statistics as the training step does, and the random numbers that are drawn later.

    NNI's own step is a forward, a loss of its output and metrics of both: the forward does. Of the quickstart's network,
    loss and metrics are a sixth of a step. Any other step is run whole: what of it counts cannot be told.
    """
    if not _has_known_step(module):
        return module.training_step

    def forward(batch: Any, index: int) -> Any:
        inputs, _ = batch
        return module(inputs)

    return forward


def loss_step(module: LightningModule) -> Step:
    """Return what gives the loss of the training step: NNI's own without its metrics, any other step whole."""
    if not _has_known_step(module):
        return module.training_step

    def loss(batch: Any, index: int) -> Any:
        inputs, target = batch
        return module.criterion(module(inputs), target)  # type: ignore[operator]

    return loss


def draws_nothing(module: LightningModule) -> bool:
    """Whether what `loss_step` returns has no side effects and draws no random numbers outside of the model."""
    forward = getattr(module.forward, '__func__', None)
    return _has_known_step(module) and forward is SupervisedLearningModule.forward


def _has_known_step(module: LightningModule) -> bool:
    """Whether a training step is that of NNI's modules, with a loss and metrics that do nothing else."""
    step = getattr(module.training_step, '__func__', None)
    if not isinstance(module, SupervisedLearningModule) or step is not SupervisedLearningModule.training_step:
        return False
    after = [*module.criterion.modules(), *module.metrics.modules()]
    return all(type(each).__module__.partition('.')[0] in _KNOWN for each in after)
