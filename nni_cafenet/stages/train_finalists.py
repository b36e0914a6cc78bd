"""Training of finalists: the best widths and the uniform baseline, each with the user's evaluator."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nni
import pytorch_lightning as pl
from torch import nn

from ..graph import ExampleInput
from ..ranks import from_first, is_first
from ..slim import save_slim
from ..supernet import RestoreRandomState, SaveEveryEpoch
from ..utils import read_record, seeded, write_record
from .captured_results import CapturedResults, taken_reports
from .evaluator_factory import EvaluatorFactory
from .finalists import Finalist, TrainedFinalist
from .finite_outputs import computes_numbers
from .folder import check_checkpoint
from .interruption import keyboard_interrupts
from .ranking_metric import Metric
from .short_evaluators import ShortEvaluators
from .training_curves import KeepCurves

__all__ = ['read_result', 'train_finalist']

_logger = logging.getLogger(__name__)


def train_finalist(
    finalist: Finalist,
    folder: Path,
    *,
    make: Callable[[], nn.Module],
    evaluators: EvaluatorFactory | ShortEvaluators,
    metric: Metric,
    seed: int,
    shown: Metric | None = None,
    example: ExampleInput | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> TrainedFinalist:
    """Train a network, or resume from its checkpoint; a finished training is only read.

    ``make`` builds the network, with all RNGs seeded. Each epoch reports ``shown`` to NNI if it is logged, else the
    metric. With an example input, a network with a non-finite output gets the metric NaN. A metric that is
    neither logged nor reported raises ValueError once the network is saved; a damaged checkpoint raises `ResumeError`.
    """
    checkpoint = folder / 'checkpoint.ckpt'
    done, resumes = from_first(lambda: (read_result(finalist, folder, metric), checkpoint.exists()))
    if done is not None:
        if is_first():
            checkpoint.unlink(missing_ok=True)  # the process may have been killed before
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with seeded(seed):
        model = make()
        evaluator = evaluators.make()
        trainer = evaluator.trainer
        if resumes:
            check_checkpoint(checkpoint)
            evaluator.fit_kwargs['ckpt_path'] = str(checkpoint)
        reported = [metric] if shown is None else [shown, metric]
        with taken_reports(lambda value: {**_as_dict(value), 'default': _default(value, trainer, reported)}) as reports:
            trainer.callbacks.extend(
                [
                    *callbacks,
                    _ReportEpochs(reports, reported),
                    KeepCurves(folder / 'curves.jsonl'),
                    SaveEveryEpoch(checkpoint, last=False),
                    RestoreRandomState(evaluators.loader(evaluator)),
                ]
            )
            with keyboard_interrupts(trainer):
                evaluator.evaluate(model)
    metrics, reported_last = from_first(lambda: (_logged(trainer), _reported(reports.final)))  # all must rank alike
    if trainer.is_global_zero:
        scored = finalist.scored
        costs = {'macs': scored.macs, 'params': scored.params}
        save_slim(model.cpu(), folder, scored.widths, example_input=example, **costs)
    finite = from_first(lambda: computes_numbers(model.cpu(), example))
    if not finite:
        _logger.warning('%s diverged: its weights or outputs are not finite. It is not returned.', finalist.title)
    record = {
        **finalist.to_json(),
        'finite': finite,
        'ranked_by': metric.name,
        'reported': reported_last,
        'metrics': metrics,
    }
    value = _value(record, metric, folder)
    result = TrainedFinalist(finalist, value, metrics)
    if trainer.is_global_zero:
        write_record(folder / 'result.json', {**record, 'metric': None if math.isnan(value) else value})
        checkpoint.unlink(missing_ok=True)
    return result


def read_result(finalist: Finalist, folder: Path, metric: Metric | None = None) -> TrainedFinalist | None:
    """Read the result of a finished training; None if it is unfinished.

    ``metric`` is any that was logged, by default the one of the training; ValueError if it was not.
    """
    path = folder / 'result.json'
    if not path.exists():
        return None
    record = read_record(path, remedy='delete it to train that network again')
    if Finalist.from_json(record).scored.widths != finalist.scored.widths:
        return None
    if metric is not None and 'reported' in record:
        return TrainedFinalist(finalist, _value(record, metric, folder), record['metrics'])
    return TrainedFinalist(finalist, math.nan if record['metric'] is None else record['metric'], record['metrics'])


def _value(record: Mapping[str, Any], metric: Metric, folder: Path) -> float:
    asked = metric.name == record.get('ranked_by', metric.name)  # the reported result belongs to that metric only
    value = metric.value(record['reported'] if asked else None, record['metrics'])
    if not record.get('finite', True):
        return math.nan
    if value is None:
        raise ValueError(
            f'metric={metric.name!r}: the evaluator logged no such metric for the trained network in {folder}. '
            f'It logged {", ".join(sorted(record["metrics"])) or "nothing"}: log it in validation_step, or name another.'
        )
    return value if math.isfinite(value) else math.nan


def _reported(value: Any) -> Any:
    """Return a result reported to NNI, JSON-serializable."""
    if isinstance(value, Mapping):
        return {str(name): _reported(each) for name, each in value.items()}
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


class _ReportEpochs(pl.Callback):
    """Report the metric of each epoch to NNI unless the user's module does."""

    def __init__(self, reports: CapturedResults, metrics: Sequence[Metric]) -> None:
        self._reports = reports
        self._metrics = metrics
        self._before = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.fit_loop.restarting:  # a resumed epoch that was already reported
            return
        value = _first(self._metrics, None, _logged(trainer))
        if self._reports.intermediate == self._before and value is not None and nni.get_current_parameter() is not None:
            nni.report_intermediate_result(value)
        self._before = self._reports.intermediate


def _logged(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _as_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _default(value: Any, trainer: pl.Trainer, metrics: Sequence[Metric]) -> Any:
    found = _first(metrics, value, _logged(trainer))
    return value if found is None else found


def _first(metrics: Sequence[Metric], reported: Any, logged: Mapping[str, float]) -> float | None:
    """Return the first of some metrics that was reported or logged."""
    values = (metric.value(reported, logged) for metric in metrics)
    return next((value for value in values if value is not None), None)
