"""A dry run: train and validate on one batch before any long work, without side effects.

A copy of the user's module trains a copy of the network with a separate trainer that has the user's options. Errors of the
first batch and the names of logged metrics become known early. All RNG states are restored.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from nni.nas.evaluator.pytorch import Lightning, LightningModule
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, LearningRateMonitor, ProgressBar, Timer
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.plugins import Precision
from torch import nn

from ..errors import FirstBatchError, first_line
from ..ranks import rank_and_ranks, rank_loader
from ..supernet import preserved_data_state
from ..utils import seeded, suppress_training_logs
from .captured_results import taken_reports
from .evaluator_factory import EvaluatorFactory
from .interruption import keyboard_interrupts

__all__ = ['Seen', 'run_first_batches']

_OPTIONS: dict[str, Any] = {
    'max_time': None,
    'min_epochs': None,
    'min_steps': None,
    'limit_train_batches': 1,
    'val_check_interval': None,
    'check_val_every_n_epoch': 1,
    'overfit_batches': 0.0,
    'fast_dev_run': False,
    'num_sanity_val_steps': 0,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'profiler': None,
    'devices': 1,
    'num_nodes': 1,
    'strategy': 'auto',
    'use_distributed_sampler': False,
    'sync_batchnorm': False,
    'barebones': False,
    'log_every_n_steps': 1,
    'reload_dataloaders_every_n_epochs': 0,
}
_LEFT_OUT = (Checkpoint, EarlyStopping, LearningRateMonitor, ProgressBar, Timer)
"""Callbacks that write files or stop training, and log nothing."""

_logger = logging.getLogger(__name__)


@dataclass
class Seen:
    """Result of a dry run: metrics logged, the last result reported to NNI, and the argument whose loader was empty."""

    logged: dict[str, float] = field(default_factory=dict)
    reported: Any = None
    empty: str | None = None


def run_first_batches(
    evaluators: EvaluatorFactory,
    make: Callable[[], nn.Module],
    *,
    known: Callable[[Seen], bool] = lambda seen: True,
    data: Callable[[Lightning], tuple[Any, Any]] | None = None,
    more: Callable[[pl.Trainer, LightningModule], None] = lambda trainer, module: None,
    name: str = 'evaluator',
) -> Seen | None:
    """Train and validate a network on one batch each; None if memory is too small for a copy.

    If ``known`` says that a required metric was not logged, the dry run is repeated with the user's callbacks. ``data``
    returns other loaders than the evaluator's; ``more`` is called at the end of the epoch. Raises `FirstBatchError`,
    which names the evaluator's argument, if a step, a hook or a sample fails.
    """
    callbacks = [each for each in _callbacks_of(evaluators) if not isinstance(each, _LEFT_OUT)]
    attempts: list[Sequence[pl.Callback]] = [[], callbacks] if callbacks else [[]]
    seen, failure = None, None
    for extra in attempts:
        try:
            seen = _one_epoch(evaluators, make, data, more, copy.deepcopy(list(extra)), name)
            failure = None
        except FirstBatchError as error:
            failure = failure or error
            continue
        except (torch.cuda.OutOfMemoryError, MemoryError):
            _logger.warning('The first batch was not checked: too little memory for a copy of the model.')
            return None
        if known(seen):
            break
    if failure is not None and seen is None:
        raise failure
    return seen


def _one_epoch(
    evaluators: EvaluatorFactory,
    make: Callable[[], nn.Module],
    data: Callable[[Lightning], tuple[Any, Any]] | None,
    more: Callable[[pl.Trainer, LightningModule], None],
    callbacks: list[pl.Callback],
    name: str,
) -> Seen:
    watch, seen = _Watch(more), Seen()
    with _without_trace(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        evaluator = evaluators.bare()
        module = evaluator.module
        module.set_model(make())
        train, validate = (evaluator.train_dataloaders, evaluator.val_dataloaders) if data is None else data(evaluator)
        loaders = [train, validate, evaluator.datamodule]
        if evaluators.splits_batches and rank_and_ranks()[1] > 1:
            train, validate = (rank_loader(each, *rank_and_ranks(), together=False) for each in (train, validate))
        with preserved_data_state(*loaders), taken_reports() as reports:
            trainer = _trainer(evaluators, [*callbacks, watch], root, train)
            where: dict[str, Any] = {'train_dataloaders': train, 'val_dataloaders': validate}
            if evaluator.datamodule is not None:
                where = {'datamodule': _with(evaluator.datamodule, None if data is None else (train, validate))}
            try:
                with keyboard_interrupts(trainer):
                    trainer.fit(module, **where)
            except (FirstBatchError, torch.cuda.OutOfMemoryError, MemoryError):
                raise
            except MisconfigurationException as error:
                raise FirstBatchError(f'{name}: {first_line(error)}') from error
            except Exception as error:
                raise FirstBatchError(
                    f'{name}: the first {watch.phase} batch fails ({type(error).__name__}: {first_line(error)}). '
                    "Check the data, the labels and the module's steps."
                ) from error
        seen.logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
        seen.reported = reports.final
        if not watch.trained:
            seen.empty = 'train_dataloaders'
        elif trainer.enable_validation and len(watch.validated) < len(trainer.num_val_batches):
            seen.empty = 'val_dataloaders'
    return seen


class _Watch(pl.Callback):
    """Records the progress of training and stops it after one epoch."""

    def __init__(self, more: Callable[[pl.Trainer, LightningModule], None]) -> None:
        self.phase = 'training'
        self.trained = 0
        self.validated: set[int] = set()
        self._more = more

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.trained += 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.phase = 'validation'

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.validated.add(dataloader_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True
        self._more(trainer, pl_module)  # type: ignore[arg-type]


class _OneBatch(pl.Trainer):
    """A trainer that reports the step count of the full training, for learning rate schedules."""

    steps_of_training: float = math.inf

    @property
    def estimated_stepping_batches(self) -> int | float:
        return self.steps_of_training


def _trainer(evaluators: EvaluatorFactory, callbacks: list[pl.Callback], root: str, train: Any) -> pl.Trainer:
    options = {**evaluators.trainer_options(), **_OPTIONS, 'callbacks': callbacks, 'default_root_dir': root}
    options['logger'] = DummyLogger() if options.get('logger', True) else False
    options['limit_val_batches'] = 0 if options.get('limit_val_batches') == 0 else 1
    for limit in ('max_epochs', 'max_steps'):
        if options.get(limit) == 0:
            options[limit] = 1
    plugins = options.pop('plugins', None) or []
    options['plugins'] = [
        each
        for each in (plugins if isinstance(plugins, list) else [plugins])
        if isinstance(each, (Precision, ClusterEnvironment))
    ]
    if any(isinstance(each, Precision) for each in options['plugins']):
        options.pop('precision', None)
    trainer = _OneBatch(**options)
    trainer.steps_of_training = _steps(evaluators, train)
    return trainer


def _steps(evaluators: EvaluatorFactory, train: Any) -> float:
    option = evaluators.trainer_option
    epochs, steps = option('max_epochs', None), option('max_steps', -1)
    steps = math.inf if steps in (-1, None) else steps
    try:
        batches: float = len(train)
    except TypeError:
        batches = math.inf
    limit = option('limit_train_batches', None)
    if isinstance(limit, int):
        batches = min(batches, limit)
    if epochs in (None, -1):
        epochs = 1000 if steps == math.inf else math.inf
    found = min(steps, epochs * batches / max(1, option('accumulate_grad_batches', 1)))
    return found if found == math.inf else max(1, math.ceil(found))


def _callbacks_of(evaluators: EvaluatorFactory) -> list[pl.Callback]:
    given = evaluators.trainer_option('callbacks', None) or []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _with(datamodule: Any, loaders: tuple[Any, Any] | None) -> Any:
    if loaders is not None:
        datamodule.train_dataloader = lambda: loaders[0]
        datamodule.val_dataloader = lambda: loaders[1]
    return datamodule


@contextlib.contextmanager
def _without_trace() -> Iterator[None]:
    with suppress_training_logs(), seeded(0):
        yield
