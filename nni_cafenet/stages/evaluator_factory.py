"""A fresh evaluator for every training, since training changes the module and the trainer."""

from __future__ import annotations

import copy
from typing import Any

from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from torchmetrics import Metric

from ..ranks import STRATEGIES
from ..utils import loader_generators

__all__ = ['EvaluatorFactory']


class EvaluatorFactory:
    """Creates copies of an evaluator that has not run yet; the data is shared."""

    def __init__(self, evaluator: Lightning) -> None:
        self._evaluator = evaluator
        self._module = copy.deepcopy(evaluator.module)
        self._fit_kwargs = dict(evaluator.fit_kwargs)
        self._trainer = copy.deepcopy((evaluator.trainer.trace_args or (), evaluator.trainer.trace_kwargs or {}))
        loaders = [evaluator.train_dataloaders, evaluator.val_dataloaders]
        self._generators = [(each, each.get_state()) for loader in loaders for each in loader_generators(loader)]

    def trainer_option(self, name: str, default: Any) -> Any:
        """Return an option that the trainer was created with."""
        return self._trainer[1].get(name, default)

    def trainer_options(self) -> dict[str, Any]:
        """Return a copy of the options that the trainer was created with."""
        return copy.deepcopy(dict(self._trainer[1]))

    @property
    def module(self) -> Any:
        """The module in its initial state; do not change it."""
        return self._module

    @property
    def splits_batches(self) -> bool:
        """Whether the processes of a training share out the batches of its loaders."""
        return self.trainer_option('strategy', None) in STRATEGIES.values()

    def bare(self) -> Lightning:
        """Return a copy with the user's data and a minimal trainer, for a dry run."""
        return Lightning(
            _alone(copy.deepcopy(self._module)),
            Trainer(logger=False, enable_checkpointing=False, accelerator='cpu', devices=1),
            train_dataloaders=self._evaluator.train_dataloaders,
            val_dataloaders=self._evaluator.val_dataloaders,
            datamodule=copy.copy(self._evaluator.datamodule),
        )

    def loader(self, evaluator: Lightning) -> Any:
        """Return the training loader of an evaluator from `make`; None for a data module."""
        return evaluator.train_dataloaders

    def make_alone(self, **trainer: Any) -> Lightning:
        """Return a fresh evaluator that runs in this process alone, on one device."""
        kept = self.trainer_option('devices', 1)
        one = {'devices': kept if isinstance(kept, list) and len(kept) == 1 else 1, 'num_nodes': 1, 'strategy': 'auto'}
        made = self.make(**trainer, **one)
        _alone(made.module)
        return made

    def make(self, **trainer: Any) -> Lightning:
        """Return a fresh evaluator with these options of its trainer, and reset the generators of its loaders."""
        args, kwargs = copy.deepcopy(self._trainer)
        kwargs = {**kwargs, **trainer}
        for generator, state in self._generators:
            generator.set_state(state)
        return Lightning(
            copy.deepcopy(self._module),
            Trainer(*args, **kwargs),
            train_dataloaders=self._evaluator.train_dataloaders,
            val_dataloaders=self._evaluator.val_dataloaders,
            datamodule=copy.copy(self._evaluator.datamodule),
            fit_kwargs=dict(self._fit_kwargs),
            detect_interrupt=self._evaluator.detect_interrupt,
        )


def _alone(module: LightningModule) -> LightningModule:
    """Let the metrics of a module count what this process sees, and not wait for others."""
    for metric in module.modules():
        if isinstance(metric, Metric):
            metric.distributed_available_fn = _never
    return module


def _never() -> bool:
    return False
