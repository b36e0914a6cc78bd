"""The evaluators of NNI's pruners as evaluators that CafeNet trains with."""

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
from ..training import SILENT, TrainerOptions
from .self_training import check_training, network_copy, training_of

__all__ = ['NasEvaluator', 'as_nas_evaluator']

_METRIC = 'default'
"""What NNI calls the metric of an evaluator."""


@dataclass(frozen=True)
class NasEvaluator:
    """An evaluator as CafeNet needs it.

    Parameters
    ----------
    evaluator
        It trains whatever network it is given.
    metric
        What its validation logs and networks are ranked by; None: as `CafeNet` chooses.
    higher_is_better
        Which way that is better; None: as its name says.
    silent
        Its trainer is made here, and shows nothing.
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
    """Return an evaluator for CafeNet that trains as another one does.

    Parameters
    ----------
    evaluator
        - ``nni.nas.evaluator.pytorch.Lightning``: as it is.
        - ``nni.compression.LightningEvaluator``: ``model`` is a Lightning module, which is the network and its training at
          once, and calls itself in its steps (``self(inputs)``). Its trainer and its data are used.
        - ``nni.compression.TorchEvaluator``: its ``training_step`` gives the loss, its ``evaluating_func`` the metric,
          which is better when it is higher; its optimizer and schedulers are made anew for every network, schedulers step
          once an epoch. Batches come from ``train``, or from the loader that its ``training_func`` reads: that is called
          once, with copies, and left at its first batch.
        - A Lightning module: ``model`` itself, with its own training, or one of ``nni.nas.evaluator.pytorch`` that calls
          ``self.model``; with ``train`` and ``validate``.
    model
        The network that is pruned. It stays as it is.
    train, validate
        Loaders of what a training step takes, where the evaluator does not bring them. For a ``TorchEvaluator`` that has no
        ``evaluating_func`` the metric is the loss on ``validate``.
    trainer
        Where and how precisely is trained, where the evaluator brings no trainer.

    Raises
    ------
    TypeError
        If the evaluator is of another kind.
    ValueError
        If something is missing, given twice, or cannot be trained with.
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
            'Use a TorchEvaluator: training_step=lambda batch, model: model(**batch).loss is what the Trainer of '
            'transformers does with a batch.'
        )
    raise TypeError(f'evaluator={kind} cannot train networks of several widths. {remedy}')


def _refuse_beside(evaluator: Any, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f'{name}: given beside {type(evaluator).__name__}, which has its own. Leave one of them out.'
            )


# --- Lightning ------------------------------------------------------------------------------------


def _of_lightning(evaluator: LightningEvaluator, model: nn.Module) -> Lightning:
    if not isinstance(model, pl.LightningModule):
        raise TypeError(
            f'model={type(model).__name__}: a LightningEvaluator trains a LightningModule. Give that as the model, or a '
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
        raise ValueError(f'{missing}=None: a Lightning module brings no data here. Give loaders train= and validate=.')
    if module is model:
        training = training_of(module)
        _check_on_first_batch(training, module, train)
    elif isinstance(module, LightningModule):
        training = copy.deepcopy(module)
    else:
        raise TypeError(
            f'evaluator={type(module).__name__} is a LightningModule with a network of its own. Give it as the model, too, '
            'or derive it from nni.nas.evaluator.pytorch.LightningModule and call self.model in its steps.'
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
    """How the optimizer and the schedulers of an evaluator are made for any network with the same names."""

    optimizer: Any
    schedulers: tuple[Any, ...]

    @classmethod
    def of(cls, evaluator: TorchEvaluator, model: nn.Module) -> _OptimizerRecipes:
        if not evaluator._initialization_complete:  # as NNI's pruners do; the evaluator then lets go of the model
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
                'evaluator: the optimizer of the TorchEvaluator holds no parameter of the model. Make it of '
                'model.parameters(), of the model that is pruned.'
            )
        return recipes

    def make(self, network: nn.Module) -> tuple[torch.optim.Optimizer, list[Any]]:
        """Return the optimizer of a network and its schedulers."""
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


# --- the loader that a training function reads ----------------------------------------------------

_ASK = 'Give train=, a loader of what training_step takes.'


class _FirstBatch(Exception):  # noqa: N818 - no error: a training function is left with it
    def __init__(self, batch: Any) -> None:
        super().__init__()
        self.batch = batch


def _loader_of(evaluator: TorchEvaluator, model: nn.Module, recipes: _OptimizerRecipes) -> DataLoader[Any]:
    """Start a training on copies, up to its first batch, to see where that comes from."""
    network = network_copy(model).train()
    optimizer, schedulers = recipes.make(network)
    given: Any = optimizer if evaluator._train_with_single_optimizer else [optimizer]
    scheduling: Any = schedulers[0] if schedulers and evaluator._train_with_single_scheduler else schedulers or None

    def step(batch: Any, *rest: Any, **kwargs: Any) -> Any:
        raise _FirstBatch(batch)

    with seeded(0), _read_loaders() as loaders:
        try:
            evaluator.training_func(network, given, step, scheduling, 1, 1)
            raise ValueError(f'evaluator: its training_func ended without calling training_step. {_ASK}')
        except _FirstBatch as first:
            batch = first.batch
    if len(loaders) != 1:
        raise ValueError(
            f'evaluator: its training_func read {len(loaders)} DataLoaders up to its first step, so that it cannot be '
            f'told where its batches come from. {_ASK}'
        )
    with seeded(0):
        own = next(iter(loaders[0]))
    if _form(own) != _form(batch):
        raise ValueError(
            f'evaluator: its training_func changes what its loader yields before it calls training_step. {_ASK}'
        )
    return loaders[0]


@contextlib.contextmanager
def _read_loaders() -> Iterator[list[DataLoader[Any]]]:
    """Note the loaders that are read in a block."""
    loaders: list[DataLoader[Any]] = []
    start = DataLoader.__iter__

    def noted(loader: DataLoader[Any]) -> Any:
        loaders.append(loader)
        return start(loader)

    with mock.patch.object(DataLoader, '__iter__', noted):
        yield loaders


def _form(batch: Any) -> list[Any]:
    """What two batches of one loader have in common."""
    leaves, tree = pytree.tree_flatten(tuple(batch) if isinstance(batch, (list, tuple)) else batch)
    return [tree, *((leaf.dtype, leaf.shape[1:]) if isinstance(leaf, torch.Tensor) else type(leaf) for leaf in leaves)]
