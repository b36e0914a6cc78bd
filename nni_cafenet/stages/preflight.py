"""Checks before a run: every loader yields a batch, and the score and metric are logged."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule
from torch.utils.data import DataLoader

from ..errors import FirstBatchError, first_line
from ..options import FinalistOptions
from ..search import Logged, loss_step
from ..supernet import LogCalls, TrainingData, each_batch, loss_of, training_loader
from ..utils import nearest
from .context import StageContext
from .evaluator_factory import EvaluatorFactory
from .first_batch import Seen, run_first_batches
from .ranking_metric import Metric

__all__ = ['check_before_training']

_logger = logging.getLogger(__name__)


def check_before_training(context: StageContext) -> FinalistOptions:
    """Run one batch of every loader through the evaluators, and check the names of metrics. ``context`` is not changed.

    Returns the options of finalists, with ``metric`` filled in if it was None and could be inferred. Raises
    `FirstBatchError` if a step, a hook or a sample fails or a loader is empty, and ValueError, with the names that are
    logged, if ``score`` or ``metric`` is not.
    """
    evaluators = _copies(context.evaluator)
    if evaluators is not None:
        _check_training(context, evaluators)
    finalists = context.finalists
    if finalists.number == 0 and finalists.metric is None:
        return finalists
    other = context.finalist_evaluator
    evaluators = evaluators if other is None else _copies(other)
    return finalists if evaluators is None else _check_finalists(context, evaluators)


def _copies(evaluator: Lightning) -> EvaluatorFactory | None:
    try:
        return EvaluatorFactory(evaluator)
    except Exception as error:  # noqa: BLE001  whatever copying raises
        _logger.warning('The first batch was not checked: the evaluator cannot be copied (%s).', first_line(error))
        return None


def _check_training(context: StageContext, evaluators: EvaluatorFactory) -> None:
    """Check supernet training and scoring, on the split data."""
    options, by_epoch = context.options, context.finalists.drawn > 0
    heldout: list[Any] = []
    logged: list[str] = []

    def cut(evaluator: Lightning) -> tuple[Any, Any]:
        data = TrainingData(
            training_loader(evaluator), holdout=options.holdout, seed=options.seed, score_loader=options.score_data
        )
        heldout[:] = [data.heldout, data.train]
        return data.train, data.heldout

    def score(trainer: pl.Trainer, module: LightningModule) -> None:
        batch = next(iter(each_batch(heldout[0])), None)
        if batch is None:
            raise FirstBatchError('score_data yields no batch. Is it empty, or drop_last set with too few samples?')
        lone = _last_alone(heldout[1])
        with _failing('the first batch of scoring fails', 'data like the training data'):
            logged[:] = _score_once(trainer, module, batch, options.score)
        if lone is not None:
            with _failing('the last training batch has one sample and fails', 'drop_last=True or another batch_size'):
                _train_once(trainer, module, lone)

    seen = run_first_batches(
        evaluators,
        lambda: context.space.slim(context.space.full_widths).train(context.space.training),
        data=cut,
        more=score,
        known=lambda seen: not by_epoch or options.score in (*seen.logged, 'loss'),
    )
    if seen is None:
        return
    _refuse_empty(seen, 'evaluator', scores=True)
    names = seen.logged if by_epoch else logged
    if options.score != 'loss' and options.score not in names:
        late = ' (only at the end of an epoch; scores need it per batch)' if options.score in seen.logged else ''
        raise ValueError(
            f"score={options.score!r}: the evaluator's validation_step logs no such metric{late}. It logs "
            f"{_listed(options.score, names)}; name one of them, or use score='loss'."
        )


def _check_finalists(context: StageContext, evaluators: EvaluatorFactory) -> FinalistOptions:
    """Check the training of finalists, on the user's data, and the ranking metric."""
    finalists = context.finalists
    metric = Metric.of(evaluators.module, finalists.metric, finalists.higher_is_better)
    name = 'evaluator' if context.finalist_evaluator is None else 'finalist_evaluator'
    seen = run_first_batches(
        evaluators,
        lambda: context.space.slim(context.space.full_widths).train(context.space.training),
        known=lambda seen: metric.value(seen.reported, seen.logged) is not None,
        name=name,
    )
    if seen is None:
        return finalists
    _refuse_empty(seen, name)
    if metric.value(seen.reported, seen.logged) is None:
        if finalists.metric is None:
            raise ValueError(
                f'metric=None: the {name} reports nothing to NNI and logs no val_loss, so networks cannot be ranked. It '
                f'logs {_listed("val_loss", seen.logged)}: name one of them, or log one in validation_step.'
            )
        raise ValueError(
            f'metric={finalists.metric!r}: the {name} logs no such metric. It logs '
            f'{_listed(finalists.metric, seen.logged)}: name one of them, or log it in validation_step.'
        )
    if metric.name is None and seen.reported is None:
        ranked = Metric.of(evaluators.module, 'val_loss', finalists.higher_is_better)
        return dataclasses.replace(finalists, metric=ranked.name, higher_is_better=ranked.higher_is_better)
    return finalists


def _refuse_empty(seen: Seen, name: str, *, scores: bool = False) -> None:
    if seen.empty is None:
        return
    what = 'score_data' if scores and seen.empty == 'val_dataloaders' else f'{seen.empty} of the {name}'
    raise FirstBatchError(f'{what} yields no batch. Is it empty, or drop_last set with too few samples?')


@contextlib.contextmanager
def _failing(what: str, remedy: str) -> Iterator[None]:
    """Re-raise errors of a block as `FirstBatchError` with the remedy."""
    try:
        yield
    except Exception as error:
        raise FirstBatchError(
            f'evaluator: {what} ({type(error).__name__}: {first_line(error)}). Give {remedy}.'
        ) from error


def _score_once(trainer: pl.Trainer, module: LightningModule, batch: Any, score: str) -> list[str]:
    """Score one batch; return the metrics that the validation step logs."""
    calls = LogCalls()
    with _logging_to(module, calls), _mode(module, training=False), torch.no_grad():
        batch = _on_device(trainer, batch)
        with trainer.precision_plugin.forward_context():
            if score != 'loss':
                module.validation_step(batch, 0)
                return list(Logged.values_in(calls))
            output = loss_step(module)(batch, 0)
    if output is not None:
        loss_of(output)
    return ['loss']


def _train_once(trainer: pl.Trainer, module: LightningModule, batch: Any) -> None:
    with _logging_to(module, LogCalls()), _mode(module, training=True):
        batch = _on_device(trainer, batch)
        with trainer.precision_plugin.forward_context():
            module.training_step(batch, 1)


def _on_device(trainer: pl.Trainer, batch: Any) -> Any:
    return trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))


def _last_alone(loader: Any) -> Any:
    """Return a batch of one sample if the loader's last batch would be one."""
    if not isinstance(loader, DataLoader) or loader.drop_last or (loader.batch_size or 0) < 2:
        return None
    try:
        alone = len(loader.sampler) % loader.batch_size == 1  # type: ignore[arg-type, operator]
        return loader.collate_fn([loader.dataset[0]]) if alone else None
    except TypeError:  # no length
        return None


def _listed(name: str, known: Iterable[str]) -> str:
    return ', '.join(nearest(name, known)) or 'nothing'


@contextlib.contextmanager
def _logging_to(module: LightningModule, log: Any) -> Iterator[None]:
    own = vars(module)
    before = own.get('log')
    own['log'] = log
    try:
        yield
    finally:
        if before is None:
            del own['log']
        else:
            own['log'] = before


@contextlib.contextmanager
def _mode(module: LightningModule, *, training: bool) -> Iterator[None]:
    modes = {each: each.training for each in module.modules()}
    if not training:
        module.eval()
    try:
        yield
    finally:
        for each, mode in modes.items():
            each.training = mode
