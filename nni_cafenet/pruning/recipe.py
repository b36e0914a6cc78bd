"""A training recipe in terms of torch and Lightning: optimizer, learning rate, mixed batches, options of the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..options import TrainingRecipe

__all__ = ['LearningRate', 'make_optimizer', 'mixing_of', 'trainer_arguments']

_WARM_UP = 0.1
_LONGEST_WARM_UP = 0.5
_RMSPROP: dict[str, Any] = {'alpha': 0.9, 'eps': 0.0316}
"""As in torchvision's reference scripts: the epsilon is the root of the one that timm and TensorFlow add under the root."""


def make_optimizer(recipe: TrainingRecipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of some parameters; those of one dimension, norms and biases, have no weight decay."""
    some = list(parameters)
    groups = [
        {'params': [each for each in some if each.dim() > 1], 'weight_decay': recipe.decay},
        {'params': [each for each in some if each.dim() <= 1], 'weight_decay': 0.0},
    ]
    groups = [group for group in groups if group['params']]
    if recipe.optimizer == 'adamw':
        return torch.optim.AdamW(groups, lr=recipe.peak_lr)
    if recipe.optimizer == 'rmsprop':
        return torch.optim.RMSprop(groups, lr=recipe.peak_lr, momentum=recipe.inertia, **_RMSPROP)
    return torch.optim.SGD(groups, lr=recipe.peak_lr, momentum=recipe.inertia, nesterov=recipe.inertia > 0)


class LearningRate:
    """Learning rate at each step, relative to the peak; ``total`` steps in a number of ``epochs``."""

    def __init__(self, recipe: TrainingRecipe, total: int, epochs: float) -> None:
        self.total = total
        self.per_epoch = total / max(1, epochs)
        self.schedule, self.steps = recipe.schedule, recipe.steps
        if recipe.warmup_epochs is None:
            self.warm_up = max(1, round(_WARM_UP * total))
        else:
            self.warm_up = min(round(recipe.warmup_epochs * self.per_epoch), int(_LONGEST_WARM_UP * total))

    def __call__(self, step: int) -> float:
        """Return the factor of a step."""
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        if self.schedule == 'step':
            epochs, factor = self.steps
            return float(factor ** math.floor(step / self.per_epoch / epochs + 1e-9))
        if self.schedule == 'constant':
            return 1.0
        done = (step - self.warm_up) / max(1, self.total - self.warm_up)
        return (1 + math.cos(math.pi * min(1.0, done))) / 2


def mixing_of(recipe: TrainingRecipe, classes: int | None) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return what mixes a batch of training; None without mixing. ``classes``: their number if targets are indices."""
    if not recipe.mixup and not recipe.cutmix:
        return None
    from torchvision.transforms import v2

    ways = [
        kind(alpha=alpha, num_classes=classes)
        for kind, alpha in ((v2.MixUp, recipe.mixup), (v2.CutMix, recipe.cutmix))
        if alpha
    ]
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = ways[0] if len(ways) == 1 else v2.RandomChoice(ways)
    return mix


def trainer_arguments(recipe: TrainingRecipe) -> dict[str, Any]:
    """Return the arguments of Lightning's trainer that differ from its defaults."""
    arguments: dict[str, Any] = {}
    if recipe.clip is not None:
        arguments['gradient_clip_val'] = recipe.clip
    if recipe.accumulate > 1:
        arguments['accumulate_grad_batches'] = recipe.accumulate
    return arguments
