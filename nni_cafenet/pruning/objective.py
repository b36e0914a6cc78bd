"""Training tasks defined by loss and metric functions."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchmetrics import Metric

from ..errors import first_line
from ..options import TrainingRecipe
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
    smoothed,
)

__all__ = ['Task']


@dataclass(frozen=True)
class Task:
    """A training task; use `of` to create one.

    Without a ``loss``, the model returns its losses in training mode, as torchvision's detectors do. ``metrics`` are
    those of validation, the most important first. ``classes`` is their number if targets are class indices of whole
    inputs.
    """

    loss: LossFunction | None
    metrics: Mapping[str, MetricFunction] = field(default_factory=dict)
    classes: int | None = None

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
        classes = None
        if loss == 'cross_entropy' and target.dim() == 1 and not target.is_floating_point():
            classes = int(main_output(output).shape[1])
        task = cls(None if loss == 'model' else LOSSES[loss] if isinstance(loss, str) else loss, metrics, classes)
        if task.loss is not None:
            task._check_loss(output, target, 'train')
        return task

    @property
    def ranking(self) -> str:
        """The logged value that ranks trained networks: that of the most important metric, or the loss of validation."""
        return f'val_{next(iter(self.metrics), "loss")}'

    def check(self, model: nn.Module, batch: Any, source: str) -> None:
        """Check on a batch of other data, the argument ``source``, that the loss and the metrics can be computed.

        Raises ValueError or TypeError if the batch has the wrong form, the model cannot be called with it, or the loss
        or a metric fails.
        """
        _check_batch(batch, source)
        with torch.no_grad(), using_mode(model, training=False):
            if self.loss is None:
                self._check_losses(model, batch, source)
                output, target = self.outputs(model, batch)
            else:
                output, target = _first_call(model, batch, source), _target(batch)
                self._check_loss(output, target, source)
            for name, metric in self.metrics.items():
                _check_metric(name, metric, output, target, source)

    def check_recipe(self, recipe: TrainingRecipe, batch: Any) -> None:
        """Raise ValueError if label smoothing or mixing of a recipe do not apply to the task and its batches."""
        smoothed(self.loss, recipe.label_smoothing)
        mixing = next((name for name in ('mixup', 'cutmix') if getattr(recipe, name)), None)
        if mixing is None:
            return
        inputs, target = batch[0], _target(batch)
        pictures = isinstance(inputs, Tensor) and inputs.dim() == 4
        if not pictures or (self.classes is None and self.loss is not LOSSES['bce']):
            raise ValueError(
                f'{mixing}={getattr(recipe, mixing)} mixes pictures with class indices (loss cross_entropy) or several '
                f'labels (bce), but the batches have inputs {_shapes_of(inputs)} and the target {shape_of(target)}. '
                f'Give {mixing}=0.'
            )

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

    def _check_losses(self, model: nn.Module, batch: Any, source: str) -> None:
        try:
            self.step(model, batch)
        except Exception as error:
            raise ValueError(
                f"loss='model': {type(model).__name__} gives no losses for the inputs and the target of the first batch of "
                f'{source} ({type(error).__name__}: {first_line(error)}). Models that take both in training, and return a '
                "dict of losses, have this loss, such as torchvision's detectors; give another model, or another loss."
            ) from error

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
