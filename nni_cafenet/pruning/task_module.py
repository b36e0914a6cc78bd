"""Training of a task by a recipe, as a Lightning module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torchmetrics import Metric

from ..options import TrainingRecipe
from ..search import batch_size
from .losses import smoothed
from .objective import Task
from .recipe import LearningRate, make_optimizer, mixing_of

__all__ = ['OptimizerFactory', 'TaskModule']

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Creates an optimizer for parameters."""


class TaskModule(LightningModule):
    """Trains a model on a task by a recipe. Logs ``train_loss``, ``val_loss`` and ``val_NAME`` for each metric.

    ``optimizer`` replaces that of the recipe. Label smoothing and mixed batches are for training mode: scores and
    validation are those of the plain task. ``compiles``: run the model by `torch.compile`; set it before training.
    """

    def __init__(
        self, task: Task, optimizer: OptimizerFactory | None = None, recipe: TrainingRecipe | None = None
    ) -> None:
        super().__init__()
        self.task = task
        self.recipe = TrainingRecipe() if recipe is None else recipe
        self.optimizer_factory = optimizer or partial(make_optimizer, self.recipe)
        self.compiles = False
        self.metrics = nn.ModuleDict({name: each for name, each in task.metrics.items() if isinstance(each, Metric)})
        self._trained = replace(task, loss=smoothed(task.loss, self.recipe.label_smoothing))
        self._mix = mixing_of(self.recipe, task.classes)

    @property
    def called_model(self) -> nn.Module:
        """The model as training steps call it: compiled, or itself."""
        compiled: nn.Module | None = self.__dict__.get('_compiled')
        return self.model if compiled is None else compiled

    def on_fit_start(self) -> None:
        """Compile the model, if it is asked for."""
        if self.compiles:
            self.__dict__['_compiled'] = torch.compile(self.model)  # not a part of the module: names of weights stay

    def on_fit_end(self) -> None:
        """Forget the compiled model."""
        self.__dict__.pop('_compiled', None)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Put the model, and the inputs of a batch, into the channels-last format, if it is asked for."""
        if not self.recipe.channels_last:
            return batch
        if any(not _has_channels_last(each) for each in self.model.parameters()):
            self.model.to(memory_format=torch.channels_last)
        inputs = tree_map_only(Tensor, _with_channels_last, batch[0])
        return (inputs, *batch[1:])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        task, size = self.task, batch_size(batch)
        if self.training:
            task = self._trained
            if self._mix is not None:
                batch = self._mix(*batch)
        loss = task.step(self.called_model, batch)
        self.log('train_loss', loss, batch_size=size)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss and the metrics of a batch."""
        size = batch_size(batch)
        if self.task.loss is None:
            self.log('val_loss', self.task.step(self.model, batch), batch_size=size, sync_dist=True)
        if self.task.loss is None and not self.task.metrics:
            return
        output, target = self.task.outputs(self.model, batch)
        if self.task.loss is not None:
            self.log('val_loss', self.task.loss(output, target), batch_size=size, sync_dist=True)
        for name, function in self.task.metrics.items():
            if name in self.metrics:
                metric = self.metrics[name]
                metric.update(output, target)  # type: ignore[operator]
                self.log(f'val_{name}', metric, batch_size=size)
            else:
                self.log(f'val_{name}', float(function(output, target)), batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its learning rate schedule."""
        optimizer = self.optimizer_factory([each for each in self.parameters() if each.requires_grad])
        total, epochs = max(1, int(self.trainer.estimated_stepping_batches)), self.trainer.max_epochs or 1
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, LearningRate(self.recipe, total, epochs))
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def _has_channels_last(tensor: Tensor) -> bool:
    return tensor.dim() != 4 or tensor.is_contiguous(memory_format=torch.channels_last)


def _with_channels_last(tensor: Tensor) -> Tensor:
    return tensor if _has_channels_last(tensor) else tensor.contiguous(memory_format=torch.channels_last)
