"""The task of each stage inside a trial process."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import nni
import pytorch_lightning as pl

from ..errors import ResumeError
from ..search import Scored, Scorer
from ..stages import CapturedResults, Finalist, RunFolder, StageContext, evaluating, taken_reports
from ..utils import child_path, load_random_state, load_torch
from .file_queue import FileQueue

__all__ = ['rounded', 'run_task', 'shown_value']

_LOOK_BATCHES = 5
"""Batches for BN statistics when scoring during supernet training."""

_REPORT_EVERY = 1.0
"""Seconds between reports of a search trial."""


def run_task(folder: RunFolder, task: Mapping[str, Any]) -> None:
    """Execute one task of a run.

    It is ``{'stage': 'supernet'}``, ``{'stage': 'search', 'queue': ...}`` or ``{'stage': 'finalist', 'finalist':
    ...}``; ``{'stage': 'none'}`` for an obsolete trial that NNI restarted.
    """
    if task['stage'] == 'none':
        return
    context = StageContext.load(folder.read_setup())
    folder.check_space(context.space)
    {'supernet': _supernet, 'search': _search, 'finalist': _finalist}[task['stage']](context, folder, task)


def _supernet(context: StageContext, folder: RunFolder, task: Mapping[str, Any]) -> None:
    initial = load_torch(folder.initial, remedy='delete it and the checkpoint to train the supernet anew')
    context.space.load_state_dict(initial['weights'])
    supernet = context.supernet
    load_random_state(initial['random'])
    with taken_reports() as reports:
        supernet.train(folder, callbacks=[_LookEveryEpoch(context, reports)])


def _search(context: StageContext, folder: RunFolder, task: Mapping[str, Any]) -> None:
    _load_supernet(context, folder)
    queue = FileQueue(child_path(folder.search, task['queue']))
    sign = 1 if context.options.higher_is_better else -1
    best: Scored | None = None
    number, reported, last = 0, -1, -math.inf

    context.scorer.shown = context.shown_metric

    def report() -> None:
        nonlocal reported, last
        if best is not None and number > reported:
            shown = shown_value(context, best)
            result = {'default': best.score if shown is None else shown, 'score': best.score, 'scored widths': number}
            nni.report_intermediate_result({name: rounded(value) for name, value in result.items()})
            reported, last = number, time.monotonic()

    def wait() -> None:
        if time.monotonic() - last >= _REPORT_EVERY:
            report()
        time.sleep(0.05)

    for widths in queue.tasks(wait):
        scored = context.scorer.score(widths)
        queue.reply(scored)
        number += 1
        if not math.isnan(scored.score) and (best is None or sign * scored.score > sign * best.score):
            best = scored
        if time.monotonic() - last >= _REPORT_EVERY:
            report()
    report()


def _finalist(context: StageContext, folder: RunFolder, task: Mapping[str, Any]) -> None:
    if context.finalists.weights == 'inherited':
        _load_supernet(context, folder)
    trained = context.train_finalist(Finalist.from_json(task['finalist']), folder)
    result = trained.report()
    if trained.finalist.epochs is not None:  # ranked by its held-out loss, but shown by the metric of the finalists
        result = {'default': trained.metrics.get(context.metric_name, trained.metric), 'score': trained.metric}
    nni.report_final_result({name: rounded(value) for name, value in result.items()})


def _load_supernet(context: StageContext, folder: RunFolder) -> None:
    if not context.supernet.restore(folder):
        raise ResumeError(f'{folder.checkpoint}: the training of this supernet is incomplete.')


class _LookEveryEpoch(pl.Callback):
    """Report how uniform 50 %, largest and smallest widths do on held-out data after every epoch."""

    def __init__(self, context: StageContext, reports: CapturedResults) -> None:
        self._context = context
        self._reports = reports
        self._scorer: Scorer | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        space = self._context.space
        with evaluating(pl_module):
            if self._scorer is None:
                batches = min(_LOOK_BATCHES, self._context.options.statistics_batches)
                self._scorer = self._context.supernet.scorer(channel_sets_per_step=1, statistics_batches=batches)
                self._scorer.shown = self._context.shown_metric
            scores = {
                'default': self._value(space.uniform_widths(0.5)),
                'largest': self._value(space.full_widths),
                'smallest': self._value(space.smallest_widths),
                'training loss': float(trainer.callback_metrics.get('cafenet/loss', math.nan)),
            }
        if not math.isnan(scores['default']):
            self._reports.send({name: rounded(value) for name, value in scores.items() if not math.isnan(value)})

    def _value(self, widths: Mapping[str, int]) -> float:
        scored = self._scorer.score(widths)  # type: ignore[union-attr]
        shown = shown_value(self._context, scored)
        return scored.score if shown is None else shown


def shown_value(context: StageContext, scored: Scored) -> float | None:
    """Return the metric that ranks finalists, of scored widths; None where the supernet does not give it."""
    name = context.metric_name
    return scored.score if context.options.score == name else scored.shown.get(name)


def rounded(value: float) -> float:
    """Round a float to six significant digits for the web UI."""
    return value if isinstance(value, int) else float(f'{value:.6g}')
