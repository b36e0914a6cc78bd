"""Named losses and metrics, and the outputs they apply to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

__all__ = [
    'LOSSES',
    'LossFunction',
    'MetricFunction',
    'clear_loss',
    'default_metrics',
    'main_output',
    'name_of',
    'named',
    'shape_of',
    'smoothed',
]

LossFunction = Callable[[Any, Any], Tensor]
"""``(output, target) -> loss``, for the output of the model and the target of the batch."""
MetricFunction = Callable[[Any, Any], Any] | Metric
"""``(output, target) -> number``, averaged over samples, or a torchmetrics metric."""

_IGNORED_PIXEL = 255
_AUXILIARY_OF_MAPPING, _AUXILIARY_OF_TUPLE = 0.5, 0.3


def main_output(output: Any) -> Any:
    """Return the main tensor of a model's output: ``out`` or ``logits`` of a mapping or object, or the first item."""
    for name in ('out', 'logits'):
        if isinstance(output, Mapping) and name in output:
            return output[name]
        if isinstance(getattr(output, name, None), Tensor):
            return getattr(output, name)
    if isinstance(output, (tuple, list)) and output:
        return output[0]
    return output


def _auxiliary(output: Any) -> list[tuple[float, Tensor]]:
    """Return auxiliary outputs with their loss weights in torchvision's reference scripts."""
    if isinstance(output, Mapping):
        return [(_AUXILIARY_OF_MAPPING, output['aux'])] if isinstance(output.get('aux'), Tensor) else []
    names = [name for name in getattr(output, '_fields', ()) if name.startswith('aux')]
    return [(_AUXILIARY_OF_TUPLE, getattr(output, name)) for name in names if isinstance(getattr(output, name), Tensor)]


def _cross_entropy(output: Any, target: Tensor, smoothing: float = 0.0) -> Tensor:
    pixels = target.dim() > 1 and not target.is_floating_point()
    options: dict[str, Any] = {'ignore_index': _IGNORED_PIXEL} if pixels else {}
    options['label_smoothing'] = smoothing
    loss = functional.cross_entropy(main_output(output), target, **options)
    for weight, auxiliary in _auxiliary(output):
        loss = loss + weight * functional.cross_entropy(auxiliary, target, **options)
    return loss


def _of_one_shape(output: Any, target: Tensor) -> Tensor:
    values: Tensor = main_output(output)
    if values.shape != target.shape:
        raise ValueError(
            f'the target has shape {tuple(target.shape)}, but the output has {tuple(values.shape)}: reshape one of them'
        )
    return values


def _bce(output: Any, target: Tensor, smoothing: float = 0.0) -> Tensor:
    scores = _of_one_shape(output, target)
    wanted = target.to(scores.dtype) * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(scores, wanted)


def _mse(output: Any, target: Tensor) -> Tensor:
    values = _of_one_shape(output, target)
    return functional.mse_loss(values, target.to(values.dtype))


LOSSES: dict[str, LossFunction] = {'cross_entropy': _cross_entropy, 'bce': _bce, 'mse': _mse}


def smoothed(loss: LossFunction | None, smoothing: float) -> LossFunction | None:
    """Return a loss with label smoothing; raise ValueError if it has none."""
    if not smoothing:
        return loss
    if loss not in (_cross_entropy, _bce):
        raise ValueError(
            f'label_smoothing={smoothing}: applies to the losses cross_entropy and bce; give 0, or a loss of your own that '
            'smooths.'
        )
    return partial(loss, smoothing=smoothing)  # type: ignore[arg-type]


def _accuracy(output: Any, target: Tensor) -> float:
    return float((main_output(output).argmax(1) == target).double().mean())


def _label_accuracy(output: Any, target: Tensor) -> float:
    return float(((main_output(output) > 0) == (target > 0.5)).double().mean())


class _MeanIoU(MulticlassJaccardIndex):
    """Mean intersection over union of the main output."""

    def update(self, output: Any, target: Tensor) -> None:  # type: ignore[override]
        """Add a batch."""
        super().update(main_output(output), target)


def default_metrics(loss: Any, output: Any, target: Any) -> dict[str, MetricFunction]:
    """Return the default metrics of a named loss: ``acc``, ``miou`` for segmentation, or none."""
    if loss == 'cross_entropy' and target.dim() == 1:
        return {'acc': _accuracy}
    if loss == 'cross_entropy':
        return {'miou': _MeanIoU(main_output(output).shape[1], ignore_index=_IGNORED_PIXEL)}
    return {'acc': _label_accuracy} if loss == 'bce' else {}


def clear_loss(output: Any, target: Any) -> str:
    """Return ``'cross_entropy'`` if the target holds classes; raise ValueError otherwise."""
    classes = isinstance(target, Tensor) and not target.is_floating_point() and target.dtype != torch.bool
    if classes and isinstance(output, Tensor) and output.dim() == target.dim() + 1:
        return 'cross_entropy'
    raise ValueError(
        f'loss=None: the loss cannot be inferred from the target ({shape_of(target)}) and the output ({shape_of(output)}). '
        "Give 'cross_entropy' (classes), 'bce' (several labels), 'mse' (regression), a function (output, target) -> "
        'tensor, or evaluator=, a Lightning module of your own.'
    )


def named(metric: Any) -> dict[str, MetricFunction]:
    """Return one or several metrics as a dict; raise TypeError for anything else."""
    metrics = dict(metric) if isinstance(metric, Mapping) else {name_of(metric): metric}
    wrong = next((name for name, each in metrics.items() if not callable(each)), None)
    if wrong is not None or not metrics:
        raise TypeError(
            f'metric={metric!r} must be a function (output, target) -> number, a torchmetrics metric, or a dict of these.'
        )
    return metrics


def name_of(function: Any) -> str:
    """Return the name of a function or metric."""
    name: str = getattr(function, '__name__', type(function).__name__)
    return 'metric' if name == '<lambda>' else name


def shape_of(value: Any) -> str:
    """Describe a value for error messages."""
    if isinstance(value, Tensor):
        return f'a {str(value.dtype).replace("torch.", "")} tensor of shape {tuple(value.shape)}'
    return type(value).__name__
