"""Training steps used for scoring. NNI's own step runs without its metrics; any other runs whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nni.nas.evaluator.pytorch.lightning import LightningModule, SupervisedLearningModule

__all__ = ['Step', 'draws_nothing', 'loss_step', 'statistics_step']

Step = Callable[[Any, int], Any]
"""``(batch, index) -> output of a training step``."""

_KNOWN = ('torch', 'torchmetrics', 'nni')


def statistics_step(module: LightningModule) -> Step:
    """Return a step that updates running statistics and RNG like training: NNI's forward, or any other step whole."""
    if not _has_known_step(module):
        return module.training_step

    def forward(batch: Any, index: int) -> Any:
        inputs, _ = batch
        return module(inputs)

    return forward


def loss_step(module: LightningModule) -> Step:
    """Return a step that computes the training loss: NNI's own without metrics, any other step whole."""
    if not _has_known_step(module):
        return module.training_step

    def loss(batch: Any, index: int) -> Any:
        inputs, target = batch
        return module.criterion(module(inputs), target)  # type: ignore[operator]

    return loss


def draws_nothing(module: LightningModule) -> bool:
    """Whether `loss_step` has no side effects and draws no random numbers outside of the model."""
    forward = getattr(module.forward, '__func__', None)
    return _has_known_step(module) and forward is SupervisedLearningModule.forward


def _has_known_step(module: LightningModule) -> bool:
    """Whether the training step is NNI's, with a loss and metrics without side effects."""
    step = getattr(module.training_step, '__func__', None)
    if not isinstance(module, SupervisedLearningModule) or step is not SupervisedLearningModule.training_step:
        return False
    after = [*module.criterion.modules(), *module.metrics.modules()]
    return all(type(each).__module__.partition('.')[0] in _KNOWN for each in after)
