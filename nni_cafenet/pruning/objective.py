"""Training tasks defined by loss and metric functions."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchmetrics import Metric

from ..errors import first_line
from ..search import batch_size
from ..slicing import using_mode
from ..utils import StatisticsNorm
from .losses import (
    LOSSES,
    LossFunction,
    MetricFunction,
    clear_loss,
    default_metrics,
    main_output,
    named,
    shape_of,
)

__all__ = ['OptimizerFactory', 'Task', 'TaskModule']

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Creates an optimizer for parameters."""

_WARM_UP = 0.1


@dataclass(frozen=True)
class Task:
    """A training task; use `of` to create one.

    Without a ``loss``, the model returns its losses in training mode, as torchvision's detectors do. ``metrics`` are
    those of validation, the most important first.
    """

    loss: LossFunction | None
    metrics: Mapping[str, MetricFunction] = field(default_factory=dict)

    @classmethod
    def of(cls, loss: Any, metric: Any, model: nn.Module, batch: Any) -> Task:
        """Create a task from user arguments, and check them on a batch; for ``loss`` and ``metric``, see `prune`.

        Raises ValueError or TypeError if the batch has the wrong form, the model cannot be called with it, or the loss
        fails or cannot be inferred.
        """
        _check_batch(batch, 'train')
        if loss is None and _is_detector(model):
            loss = 'model'
        with torch.no_grad(), using_mode(model, training=False):
            output = None if loss == 'model' else _first_call(model, batch, 'train')
        target = _target(batch)
        if loss is None:
            loss = clear_loss(main_output(output), target)
        if isinstance(loss, str) and loss not in LOSSES and loss != 'model':
            raise ValueError(f'loss={loss!r} must be a function or one of {", ".join([*LOSSES, "model"])}.')
        metrics = default_metrics(loss, output, target) if metric is None else named(metric)
        task = cls(None if loss == 'model' else LOSSES[loss] if isinstance(loss, str) else loss, metrics)
        if task.loss is not None:
            task._check_loss(output, target, 'train')
        return task

    def check(self, model: nn.Module, batch: Any, source: str) -> None:
        """Check on a batch of other data, the argument ``source``, that the loss and the metrics can be computed.

        Raises ValueError or TypeError if the batch has the wrong form, the model cannot be called with it, or the loss
        or a metric fails.
        """
        _check_batch(batch, source)
        with torch.no_grad(), using_mode(model, training=False):
            if self.loss is None:
                self.step(model, batch)
                output, target = self.outputs(model, batch)
            else:
                output, target = _first_call(model, batch, source), _target(batch)
                self._check_loss(output, target, source)
            for name, metric in self.metrics.items():
                _check_metric(name, metric, output, target, source)

    def step(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the loss of a model, in its current mode, on a batch."""
        if self.loss is not None:
            return self.loss(_called(model, batch), _target(batch))
        with _returning_losses(model):
            losses = model(*batch)
        if not isinstance(losses, Mapping) or not losses:
            raise TypeError(
                f"loss='model': {type(model).__name__} returned {type(losses).__name__} in training, not a dict of losses."
            )
        return torch.stack([value for value in losses.values() if isinstance(value, Tensor)]).sum()

    def outputs(self, model: nn.Module, batch: Any) -> tuple[Any, Any]:
        """Return the output of a model in evaluation mode, and the target."""
        return (model(batch[0]) if self.loss is None else _called(model, batch)), _target(batch)

    def _check_loss(self, output: Any, target: Any, source: str) -> None:
        function: Any = self.loss
        name = next((repr(name) for name, known in LOSSES.items() if known is function), None)
        name = name or getattr(function, '__name__', type(function).__name__)
        try:
            loss = function(output, target)
        except Exception as error:
            raise ValueError(f'loss: {name} {_failed(error, output, target, source)}') from error
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise TypeError(f'loss: {name} returned {shape_of(loss)}; it must return a tensor with one element.')


class TaskModule(LightningModule):
    """Trains a model on a task. Logs ``train_loss``, ``val_loss`` and ``val_NAME`` for each metric.

    The peak learning rate is that of ``optimizer``, by default AdamW with a learning rate of 1e-3 and weight decay of
    0.01. It warms up linearly over 10 % of the steps, then decays to zero along a cosine.
    """

    def __init__(self, task: Task, optimizer: OptimizerFactory | None = None) -> None:
        super().__init__()
        self.task = task
        self.optimizer_factory = optimizer or _adamw
        self.metrics = nn.ModuleDict({name: each for name, each in task.metrics.items() if isinstance(each, Metric)})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self.task.step(self.model, batch)
        self.log('train_loss', loss, batch_size=batch_size(batch))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss and the metrics of a batch."""
        size = batch_size(batch)
        if self.task.loss is None:
            self.log('val_loss', self.task.step(self.model, batch), batch_size=size)
        if self.task.loss is None and not self.task.metrics:
            return
        output, target = self.task.outputs(self.model, batch)
        if self.task.loss is not None:
            self.log('val_loss', self.task.loss(output, target), batch_size=size)
        for name, function in self.task.metrics.items():
            if name in self.metrics:
                metric = self.metrics[name]
                metric.update(output, target)  # type: ignore[operator]
                self.log(f'val_{name}', metric, batch_size=size)
            else:
                self.log(f'val_{name}', float(function(output, target)), batch_size=size)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its learning rate schedule."""
        optimizer = self.optimizer_factory([each for each in self.parameters() if each.requires_grad])
        total = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _CosineWithWarmUp(total))
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


class _CosineWithWarmUp:
    """Learning rate at each step, relative to the peak."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.warm_up = max(1, round(_WARM_UP * total))

    def __call__(self, step: int) -> float:
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        done = (step - self.warm_up) / max(1, self.total - self.warm_up)
        return (1 + math.cos(math.pi * min(1.0, done))) / 2


def _adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)


# --- batches --------------------------------------------------------------------------------------


def _check_batch(batch: Any, source: str) -> None:
    if isinstance(batch, Mapping):
        raise TypeError(
            f'{source}: the loader yields dictionaries (with {", ".join(map(repr, list(batch)[:6]))}), and the target is '
            'unknown. Yield (inputs, target), where inputs may be a dict of keyword arguments; or give evaluator=, a '
            'Lightning module with your own training_step.'
        )
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        count = f' of {len(batch)}' if isinstance(batch, (tuple, list)) else ''
        raise TypeError(
            f'{source}: the loader yields a {type(batch).__name__}{count}, not (inputs, target). Yield such pairs, or give '
            'evaluator=, a Lightning module with your own training_step.'
        )


def _called(model: nn.Module, batch: Any) -> Any:
    inputs = batch[0]
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def _first_call(model: nn.Module, batch: Any, source: str) -> Any:
    try:
        return _called(model, batch)
    except Exception as error:
        raise ValueError(
            f'{source}: {type(model).__name__} cannot be called with the inputs of the first batch '
            f'({_shapes_of(batch[0])}): {type(error).__name__}: {first_line(error)}. Yield inputs as the model takes them: '
            'one tensor, a tuple, or a dict of keyword arguments.'
        ) from error


def _check_metric(name: str, metric: MetricFunction, output: Any, target: Any, source: str) -> None:
    try:
        if isinstance(metric, Metric):
            metric = copy.deepcopy(metric)
            metric.update(output, target)
            value = metric.compute()
        else:
            value = metric(output, target)
    except Exception as error:
        raise ValueError(f'metric: {name} {_failed(error, output, target, source)}') from error
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f'metric: {name} returned {shape_of(value)}; it must return one number for a batch, such as a mean.'
        ) from error


def _failed(error: Exception, output: Any, target: Any, source: str) -> str:
    return (
        f'failed on the first batch of {source} ({type(error).__name__}: {first_line(error)}). It was called with the '
        f'output of the model ({shape_of(output)}) and the target ({shape_of(target)}).'
    )


def _shapes_of(inputs: Any) -> str:
    parts = (
        inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (tuple, list)) else [inputs]
    )
    return ', '.join(map(shape_of, parts))


def _target(batch: Any) -> Any:
    return batch[1]


# --- modes ----------------------------------------------------------------------------------------


def _is_detector(model: nn.Module) -> bool:
    return any(kind.__module__.startswith('torchvision.models.detection') for kind in type(model).__mro__)


@contextlib.contextmanager
def _returning_losses(model: nn.Module) -> Iterator[None]:
    """Make a model return losses in evaluation mode: all modules but normalization and dropout switch to training mode."""
    changed = [
        module
        for module in model.modules()
        if not module.training and not isinstance(module, (StatisticsNorm, _DropoutNd))
    ]
    owner = getattr(model, 'full_model', None)  # of a width space
    changed += [owner] if isinstance(owner, nn.Module) and not owner.training else []
    try:
        for module in changed:
            module.training = True
        yield
    finally:
        for module in changed:
            module.training = False
