"""Conversion of NNI's compression evaluators to NAS evaluators."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytorch_lightning as pl
import torch
from nni.compression import LightningEvaluator, TorchEvaluator
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from ...search import batch_size
from ...utils import map_tensors, seeded
from ..trainer_options import TrainerOptions
from ..training import SILENT
from .self_training import check_training, network_copy, training_of

__all__ = ['NasEvaluator', 'as_nas_evaluator']

_METRIC = 'default'
"""NNI's name for the metric of an evaluator."""


@dataclass(frozen=True)
class NasEvaluator:
    """An evaluator for CafeNet, which trains any network of the model's kind.

    Without a metric, `CafeNet` chooses one. A ``silent`` one has a trainer that was created here and prints nothing.
    """

    evaluator: Lightning
    metric: str | None = None
    higher_is_better: bool | None = None
    silent: bool = False


def as_nas_evaluator(
    evaluator: Any,
    model: nn.Module,
    *,
    train: Any = None,
    validate: Any = None,
    trainer: TrainerOptions | None = None,
) -> NasEvaluator:
    """Convert an evaluator for use by CafeNet; the model is not changed.

    - ``nni.nas.evaluator.pytorch.Lightning``: used unchanged.
    - ``nni.compression.LightningEvaluator``: `model` is a Lightning module whose steps call the module itself
      (``self(inputs)``). Its trainer and data are used.
    - ``nni.compression.TorchEvaluator``: its ``training_step`` returns the loss, its ``evaluating_func`` the metric
      (higher is better; without one, it is the loss on `validate`). Optimizer and schedulers are recreated for every
      network; schedulers step once per epoch. Batches come from `train`, or from the loader that its ``training_func``
      reads: it is called once, with copies, up to its first batch.
    - A Lightning module: `model` itself, or a module of ``nni.nas.evaluator.pytorch`` that calls ``self.model``; with
      `train` and `validate`, and `trainer` for device and precision.

    Raises TypeError for any other, ValueError if something is missing or given twice, or training fails on the first
    batch.
    """
    if isinstance(evaluator, Lightning):
        _refuse_beside(evaluator, train=train, validate=validate, device_or_precision=trainer)
        return NasEvaluator(evaluator)
    if isinstance(evaluator, LightningEvaluator):
        _refuse_beside(evaluator, train=train, validate=validate, device_or_precision=trainer)
        return NasEvaluator(_of_lightning(evaluator, model))
    if isinstance(evaluator, TorchEvaluator):
        return _of_torch(evaluator, model, train, validate, trainer or TrainerOptions())
    if isinstance(evaluator, pl.LightningModule):
        return NasEvaluator(_of_module(evaluator, model, train, validate, trainer or TrainerOptions()), silent=True)
    kind = type(evaluator).__name__
    remedy = (
        'Use a TorchEvaluator or LightningEvaluator of nni.compression, or a Lightning of nni.nas.evaluator.pytorch.'
    )
    if kind == 'TransformersEvaluator':
        remedy = (
            'Use a TorchEvaluator with training_step=lambda batch, model: model(**batch).loss, as the Trainer of '
            'transformers does.'
        )
    raise TypeError(f'evaluator={kind} cannot train networks of several widths. {remedy}')


def _refuse_beside(evaluator: Any, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f'{name}: given together with {type(evaluator).__name__}, which has its own. Omit one of them.'
            )


# --- Lightning ------------------------------------------------------------------------------------


def _of_lightning(evaluator: LightningEvaluator, model: nn.Module) -> Lightning:
    if not isinstance(model, pl.LightningModule):
        raise TypeError(
            f'model={type(model).__name__}: a LightningEvaluator needs a LightningModule as the model. Give one, or use a '
            'TorchEvaluator.'
        )
    data = evaluator.data_module
    data.prepare_data()
    data.setup('fit')
    training = training_of(model)
    _check_on_first_batch(training, model, data.train_dataloader())
    return Lightning(training, evaluator.trainer, datamodule=data)


def _of_module(
    module: pl.LightningModule, model: nn.Module, train: Any, validate: Any, trainer: TrainerOptions
) -> Lightning:
    if train is None or validate is None:
        missing = 'train' if train is None else 'validate'
        raise ValueError(f'{missing}=None: a Lightning module has no data. Give loaders train= and validate=.')
    if module is model:
        training = training_of(module)
        _check_on_first_batch(training, module, train)
    elif isinstance(module, LightningModule):
        training = copy.deepcopy(module)
    else:
        raise TypeError(
            f'evaluator={type(module).__name__} is a LightningModule with its own network. Also give it as the model, or '
            'derive it from nni.nas.evaluator.pytorch.LightningModule and call self.model in its steps.'
        )
    return Lightning(
        training, Trainer(**SILENT, **trainer.as_arguments()), train_dataloaders=train, val_dataloaders=validate
    )


def _check_on_first_batch(training: LightningModule, model: pl.LightningModule, loader: Any) -> None:
    with seeded(0):
        batch = next(iter(loader), None)
    if batch is None:
        raise ValueError('The training data has no batch. Is it empty, or drop_last set with too few samples?')
    check_training(training, model, map_tensors(lambda tensor: tensor.to(model.device), batch))


# --- TorchEvaluator -------------------------------------------------------------------------------


def _of_torch(
    evaluator: TorchEvaluator, model: nn.Module, train: Any, validate: Any, trainer: TrainerOptions
) -> NasEvaluator:
    if evaluator.evaluating_func is None and validate is None:
        raise ValueError('evaluator: TorchEvaluator has no evaluating_func. Give it one, or validate=, a loader.')
    recipes = _OptimizerRecipes.of(evaluator, model)
    loader = _loader_of(evaluator, model, recipes) if train is None else train
    module = _StepModule(evaluator._ori_training_step, evaluator.evaluating_func, recipes)
    made = Lightning(
        module,
        Trainer(**SILENT, **trainer.as_arguments()),
        train_dataloaders=loader,
        val_dataloaders=DataLoader(range(1)) if validate is None else validate,  # type: ignore[arg-type]
    )
    if evaluator.evaluating_func is None:
        return NasEvaluator(made, 'val_loss', False, silent=True)
    return NasEvaluator(made, _METRIC, True, silent=True)


@dataclass(frozen=True)
class _OptimizerRecipes:
    """Constructor records of optimizer and schedulers, for any network with the same parameter names."""

    optimizer: Any
    schedulers: tuple[Any, ...]

    @classmethod
    def of(cls, evaluator: TorchEvaluator, model: nn.Module) -> _OptimizerRecipes:
        if not evaluator._initialization_complete:  # as NNI's pruners do; the evaluator then releases the model
            evaluator._init_optimizer_helpers(model)
        helpers = evaluator._optimizer_helpers
        if len(helpers) != 1:
            raise ValueError(
                f'evaluator: TorchEvaluator has {len(helpers)} optimizers. Give it one, with several parameter groups.'
            )
        recipes = cls(helpers[0], tuple(evaluator._lr_scheduler_helpers))
        names = {name for name, _ in model.named_parameters()}
        groups = helpers[0].kwargs['params'] if 'params' in helpers[0].kwargs else helpers[0].args[0]
        if not names.intersection(name for group in groups for name in group['params']):
            raise ValueError(
                'evaluator: the optimizer of the TorchEvaluator has no parameters of the model. Create it with the '
                'parameters() of the model to prune.'
            )
        return recipes

    def make(self, network: nn.Module) -> tuple[torch.optim.Optimizer, list[Any]]:
        """Return an optimizer and schedulers for a network."""
        optimizer = self.optimizer.call(network, None)
        return optimizer, [scheduler.call(optimizer) for scheduler in self.schedulers]


class _StepModule(LightningModule):
    """Trains with the functions of a ``TorchEvaluator``. Logs ``train_loss``, and ``val_loss`` or ``default``."""

    def __init__(
        self,
        step: Callable[..., Any],
        evaluate: Callable[[nn.Module], Any] | None,
        recipes: _OptimizerRecipes,
    ) -> None:
        super().__init__()
        self._step, self._evaluate, self._recipes = step, evaluate, recipes

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        output = self._step(batch, self.model)
        loss = output['loss'] if isinstance(output, Mapping) else output[0] if isinstance(output, tuple) else output
        self.log('train_loss', loss.detach(), batch_size=batch_size(batch))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self._evaluate is None:
            loss = self.training_step(batch, batch_idx)
            self.log('val_loss', loss, batch_size=batch_size(batch))

    def on_validation_epoch_end(self) -> None:
        if self._evaluate is not None:
            found = self._evaluate(self.model)
            self.log(_METRIC, float(found[_METRIC] if isinstance(found, Mapping) else found))

    def configure_optimizers(self) -> Any:
        optimizer, schedulers = self._recipes.make(self.model)
        return [optimizer], [{'scheduler': each, 'interval': 'epoch', 'monitor': 'train_loss'} for each in schedulers]


# --- the loader of a training function ------------------------------------------------------------

_ASK = 'Give train=, a loader of what training_step takes.'


class _FirstBatch(Exception):  # noqa: N818 - not an error: it leaves a training function
    def __init__(self, batch: Any) -> None:
        super().__init__()
        self.batch = batch


def _loader_of(evaluator: TorchEvaluator, model: nn.Module, recipes: _OptimizerRecipes) -> DataLoader[Any]:
    """Run the training function on copies, up to its first batch, to find its loader."""
    network = network_copy(model).train()
    optimizer, schedulers = recipes.make(network)
    given: Any = optimizer if evaluator._train_with_single_optimizer else [optimizer]
    scheduling: Any = schedulers[0] if schedulers and evaluator._train_with_single_scheduler else schedulers or None

    def step(batch: Any, *rest: Any, **kwargs: Any) -> Any:
        raise _FirstBatch(batch)

    with seeded(0), _read_loaders() as loaders:
        try:
            evaluator.training_func(network, given, step, scheduling, 1, 1)
            raise ValueError(f'evaluator: its training_func returned without calling training_step. {_ASK}')
        except _FirstBatch as first:
            batch = first.batch
    if len(loaders) != 1:
        raise ValueError(
            f'evaluator: its training_func read {len(loaders)} DataLoaders before its first step, so the source of its '
            f'batches is unknown. {_ASK}'
        )
    with seeded(0):
        own = next(iter(loaders[0]))
    if _form(own) != _form(batch):
        raise ValueError(
            f'evaluator: its training_func changes the batches of its loader before it calls training_step. {_ASK}'
        )
    return loaders[0]


@contextlib.contextmanager
def _read_loaders() -> Iterator[list[DataLoader[Any]]]:
    """Record the loaders that are iterated in a block."""
    loaders: list[DataLoader[Any]] = []
    start = DataLoader.__iter__

    def noted(loader: DataLoader[Any]) -> Any:
        loaders.append(loader)
        return start(loader)

    with mock.patch.object(DataLoader, '__iter__', noted):
        yield loaders


def _form(batch: Any) -> list[Any]:
    """Return the structure, dtypes and sample shapes of a batch."""
    leaves, tree = pytree.tree_flatten(tuple(batch) if isinstance(batch, (list, tuple)) else batch)
    return [tree, *((leaf.dtype, leaf.shape[1:]) if isinstance(leaf, torch.Tensor) else type(leaf) for leaf in leaves)]
