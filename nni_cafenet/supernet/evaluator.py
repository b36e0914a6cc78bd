"""Checking the user's evaluator, and its data."""

from __future__ import annotations

import copy
from typing import Any

import torch
from nni.mutable import Mutable
from nni.nas.evaluator.pytorch import Lightning, LightningModule
from pytorch_lightning.utilities.model_helpers import is_overridden

from .data import TrainingData

__all__ = ['check_evaluator', 'to_device', 'training_loader', 'validation_loader', 'with_data']


def check_evaluator(evaluator: Any, argument: str = 'evaluator') -> None:
    """Raise TypeError or ValueError for an evaluator that cannot train a supernet."""
    if not isinstance(evaluator, Lightning):
        raise TypeError(
            f'{argument}={type(evaluator).__name__} cannot train a supernet. Use an NNI Lightning evaluator: '
            'nni.nas.evaluator.pytorch.Lightning, Classification or Regression.'
        )
    if isinstance(evaluator, Mutable) and evaluator.simplify():
        raise ValueError(
            f'The evaluator has the free choices {sorted(evaluator.simplify())}. Give them values: CafeNet searches widths.'
        )
    if not evaluator.module.automatic_optimization:
        raise ValueError(
            f'{type(evaluator.module).__name__} uses manual optimization, so a step cannot be run without optimizing. '
            'Return the loss from training_step and leave automatic_optimization on.'
        )


def training_loader(evaluator: Lightning) -> Any:
    """Return the training loader of an evaluator: its own, its data module's, or its module's."""
    if evaluator.datamodule is not None:
        evaluator.datamodule.prepare_data()
        evaluator.datamodule.setup('fit')
        return evaluator.datamodule.train_dataloader()
    if evaluator.train_dataloaders is not None:
        return evaluator.train_dataloaders
    if is_overridden('train_dataloader', evaluator.module):
        evaluator.module.prepare_data()
        evaluator.module.setup('fit')
        return evaluator.module.train_dataloader()
    raise ValueError('The evaluator has no training data. Give it train_dataloaders=... or datamodule=....')


def validation_loader(evaluator: Lightning) -> Any:
    """Return the validation loaders of an evaluator, or None. Call `training_loader` first."""
    if evaluator.datamodule is not None:
        has_any = is_overridden('val_dataloader', evaluator.datamodule)
        return evaluator.datamodule.val_dataloader() if has_any else None
    if evaluator.val_dataloaders is not None:
        return evaluator.val_dataloaders
    return evaluator.module.val_dataloader() if is_overridden('val_dataloader', evaluator.module) else None


def with_data(evaluator: Lightning, module: LightningModule, data: TrainingData) -> Lightning:
    """Return the evaluator with another module, trained on ``data`` and validated on its held-out part.

    Trainer, arguments and hooks of a data module stay those of the given evaluator.
    """
    datamodule = copy.copy(evaluator.datamodule)
    if datamodule is None:
        loaders = {'train_dataloaders': data.train, 'val_dataloaders': data.heldout}
    else:
        datamodule.train_dataloader = data.train_dataloader
        datamodule.val_dataloader = data.val_dataloader
        loaders = {'datamodule': datamodule}
    return Lightning(
        module,
        evaluator.trainer,
        fit_kwargs=dict(evaluator.fit_kwargs),
        detect_interrupt=evaluator.detect_interrupt,
        **loaders,
    )


def to_device(evaluator: Lightning, batch: Any, device: torch.device) -> Any:
    """Move a batch to a device as Lightning does: by the hooks of the data module, or else of the user's module."""

    def hook(name: str) -> Any:
        of_data = evaluator.datamodule is not None and is_overridden(name, evaluator.datamodule)
        return getattr(evaluator.datamodule if of_data else evaluator.module.training_module, name)

    batch = evaluator.trainer.precision_plugin.convert_input(batch)
    batch = hook('on_before_batch_transfer')(batch, 0)
    batch = hook('transfer_batch_to_device')(batch, device, 0)
    return hook('on_after_batch_transfer')(batch, 0)
