"""A model, and how an evaluator trains it, as plain data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning, LightningModule
from torch import nn

from ..ranks import splits_batches
from .code import class_code, is_library
from .values import Describer, digest

__all__ = ['evaluator_record', 'model_record']

_TRAINER = (
    'max_epochs',
    'min_epochs',
    'max_steps',
    'min_steps',
    'limit_train_batches',
    'limit_val_batches',
    'overfit_batches',
    'fast_dev_run',
    'val_check_interval',
    'check_val_every_n_epoch',
    'accumulate_grad_batches',
    'gradient_clip_val',
    'gradient_clip_algorithm',
    'precision',
    'world_size',
)
"""Settings of a trainer that affect the result; loggers, progress bars, folders and devices do not."""

_SILENT = (
    'ModelCheckpoint',
    'ProgressBar',
    'ModelSummary',
    'Monitor',
    'StatsMonitor',
    'Timer',
    'Checkpoint',
    'EpochBar',
)
"""Suffixes of the names of callbacks that only observe."""

_OF_THE_RUN = ('model', '_model', '_hparams', '_hparams_initial', '_hparams_name', 'export_onnx')


def evaluator_record(evaluator: Lightning) -> dict[str, Any]:
    """Return how an evaluator trains: its module, the settings of its trainer, callbacks; without its data and its model.

    It must not have run yet. Parameters of the module are identified by shape, since they may be initialized at random;
    what is not trained (buffers, a frozen teacher) by value.
    """
    describe, module = Describer(), evaluator.module
    record = {'module': type(module).__qualname__, **_settings(module, describe)}
    trainer = evaluator.trainer
    record.update({name: describe(getattr(trainer, name, None)) for name in _TRAINER})
    if splits_batches(trainer):
        record['world_size'] = 1  # its batches are those of a single process
    callbacks = [each for each in trainer.callbacks if not _is_silent(each)]
    if callbacks:
        record['callbacks'] = [describe(each) for each in callbacks]
    fit = {name: describe(value) for name, value in evaluator.fit_kwargs.items() if name != 'ckpt_path'}
    return {**record, **fit}


def model_record(model: nn.Module) -> dict[str, Any]:
    """Describe a model without the values of its parameters: its layers, their settings, and its code."""
    describe, layers, code = Describer(), dict[str, str](), dict[str, str]()
    for name, module in model.named_modules():
        kind = type(module)
        if not is_library(kind.__module__):
            code.update(class_code(kind, describe))
        own = _layer_settings(module)
        settings = {key: describe(value) for key, value in sorted(own.items())}
        shapes = {key: str(tuple(value.shape)) for key, value in module._parameters.items() if value is not None}
        text = module.extra_repr() if is_library(kind.__module__) else ''
        layers[name or 'model'] = f'{kind.__qualname__}({text}) {digest([settings, shapes])}'
    return {'layers': layers, 'code': code}


def _layer_settings(module: nn.Module) -> Mapping[str, Any]:
    skipped = vars(nn.Module())
    return {
        name: value
        for name, value in vars(module).items()
        if name not in skipped and not name.startswith(('_nni_', 'trace_')) and not isinstance(value, nn.Module)
    }


def _settings(module: LightningModule, describe: Describer) -> dict[str, Any]:
    hyper_parameters = {str(name): describe(value) for name, value in dict(module.hparams).items()}
    record: dict[str, Any] = describe.module(module, without=_OF_THE_RUN, own=_own_of_lightning())
    del record['class']
    return {**hyper_parameters, **record}


@functools.cache
def _own_of_lightning() -> frozenset[str]:
    return frozenset(vars(LightningModule()))


def _is_silent(callback: Any) -> bool:
    kinds = [kind.__name__ for kind in type(callback).__mro__ if kind not in (object, pl.Callback)]
    return any(kind.endswith(_SILENT) for kind in kinds)
