"""Scores of widths: supernet performance on held-out training data, with re-estimated running statistics."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ..options import ScoreOptions
from ..space import WidthSpace
from ..supernet import LogCalls, MinMinModule, Sharing, SideEffects, estimate_statistics, loss_of
from ..utils import seeded
from .cross_entropy import find_logits
from .history import Scored, better_when_higher
from .logged_means import Logged, Mean, batch_size
from .model_outputs import Logits, recorded_outputs, replayed_outputs
from .score_steps import Step, draws_nothing, loss_step, statistics_step
from .shown_metric import ShownMetric
from .temperature import FIT_GRID, TEMPERATURES, fit_temperature

__all__ = ['Scorer']

_logger = logging.getLogger(__name__)

_T = TypeVar('_T')


class Scorer:
    """Score widths in place, on the same cached batches for all.

    The score of a width depends on the supernet, the batches, the width and the seed only, not on earlier scores.

    Parameters
    ----------
    module, heldout, statistics
        The trained supernet, batches of held-out training data, and training batches from which running statistics are
        re-estimated (none: they stay as they are), all on the same device.
    score
        ``'loss'``: the loss of the user's ``training_step`` in evaluation mode. Any other name: that metric, as the
        user's ``validation_step`` logs it.
    temperature
        Divisor of the model's logits while widths are scored; None: the one that fits best (see `fit_temperature`) for each
        channel set if the score is the cross-entropy of the model's output (see `find_logits`), else 1.
    channel_sets_per_step
        Channel sets tried per width, the leftmost one first; the best one represents it.
    seed
        Seed of channel sets, and of random numbers in steps.
    context
        Returns a context in which the model runs (precision).
    """

    def __init__(
        self,
        module: MinMinModule,
        *,
        sharing: Sharing,
        heldout: Sequence[Any],
        statistics: Sequence[Any],
        score: str = 'loss',
        higher_is_better: bool | None = None,
        temperature: float | None = None,
        channel_sets_per_step: int = 1,
        seed: int = 0,
        context: Callable[[], Any],
    ) -> None:
        self.module = module
        self.sharing = sharing
        self.heldout = heldout
        self.statistics = statistics
        self.metric = score
        self.higher_is_better = better_when_higher(score) if higher_is_better is None else higher_is_better
        self.asked_temperature = ScoreOptions.check('temperature', temperature)
        self.channel_sets_per_step = channel_sets_per_step
        self.seed = seed
        self.context = context
        self.shown: str | None = None
        """A metric of the ``validation_step``, to be shown beside scores that are losses (see `ShownMetric`)."""

    @property
    def space(self) -> WidthSpace:
        """The supernet."""
        return self.module.space

    @property
    def temperature(self) -> float | None:
        """The temperature of the scores; None if it is fitted to each channel set.

        Raises ValueError if one other than 1 was requested, and the score is not the cross-entropy of the model's
        output.
        """
        asked, logits = self.asked_temperature, self._logits
        if isinstance(logits, Logits):
            return asked
        if asked is not None and asked != 1:
            raise ValueError(
                f'temperature={asked:g}: it divides the logits of a cross-entropy, and {logits}. Use temperature=1, or '
                'None, which chooses.'
            )
        return 1.0

    @property
    def _temperatures(self) -> tuple[float, ...]:
        """The temperatures at which losses are computed; a step has its usual effects at the first."""
        own = self.temperature
        if own is None:
            return tuple(dict.fromkeys((*TEMPERATURES, *FIT_GRID)))
        return tuple(dict.fromkeys((own, *TEMPERATURES)))

    @cached_property
    def _logits(self) -> Logits | str:
        """The positions of the model's logits, found on the first held-out batch; or why there are none."""
        batch, name = next(iter(self.heldout), None), self.metric
        if batch is None:
            return 'there are no held-out batches'
        with self._prepared(self.space.full_widths, None, statistics=()):
            if name == 'loss':
                run = partial(self._loss_of, loss_step(self.module.training_module), batch, 0)
            else:
                run = partial(self._logged_tensor, batch)

            def loss() -> Tensor | None:
                with seeded(self.seed):
                    return run()

            found = find_logits(self.space, loss)
        if isinstance(found, str):
            found = found if name == 'loss' else f"{name!r} is not the cross-entropy of the model's output"
            _logger.info('Scores are taken at temperature 1: %s.', found)
        return found

    def score(self, widths: Mapping[str, int]) -> Scored:
        """Score a width by the best of its channel sets."""
        temperature, sets = self.temperature, self._channel_sets(widths)
        found = [self._score_set(widths, channel_sets) for channel_sets in sets]
        scores = [each.score for each in found]
        best = self._best(scores)
        return Scored(
            widths=dict(widths),
            macs=self.space.macs(widths),
            params=self.space.params(widths),
            score=scores[best],
            channel_sets={label: chosen.tolist() for label, chosen in sets[best].items()},
            scores=tuple(scores),
            temperature=found[best].temperature,
            by_temperature=self._best_by_temperature(found, temperature) if isinstance(self._logits, Logits) else {},
            parts=found[best].parts,
            shown=found[best].shown,
        )

    def _best(self, scores: Sequence[float]) -> int:
        sign = 1 if self.higher_is_better else -1
        return max(range(len(scores)), key=lambda i: -math.inf if math.isnan(scores[i]) else sign * scores[i])

    def _best_by_temperature(self, found: Sequence[_SetScore], given: float | None) -> dict[float, float]:
        """Return the score at each recorded temperature, of the best channel set at that temperature."""
        recorded = sorted({*TEMPERATURES, *([] if given is None else [given])})
        columns = {each: [scores.at[each] for scores in found] for each in recorded}
        return {temperature: scores[self._best(scores)] for temperature, scores in columns.items()}

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of a scored width, with the statistics that it was scored with."""
        sets = {label: torch.tensor(channels) for label, channels in scored.channel_sets.items()}
        slim = self.space.slim(scored.widths, sets)
        with self._prepared(scored.widths, sets, statistics=self.statistics) as tensors:
            for name, buffer in slim.named_buffers():
                buffer.copy_(tensors[name])
        return slim

    def _channel_sets(self, widths: Mapping[str, int]) -> list[dict[str, Tensor]]:
        """Return distinct channel sets of a width, the same ones in every call."""
        own = self.space.group_widths(widths)
        rng = np.random.default_rng([self.seed, *own.values()])
        return self.sharing.different(self.space.groups, own, self.channel_sets_per_step, rng)

    def _score_set(self, widths: Mapping[str, int], channel_sets: Mapping[str, Tensor]) -> _SetScore:
        with self._prepared(widths, channel_sets, statistics=self.statistics):
            return self._losses() if self.metric == 'loss' else self._logged()

    @contextlib.contextmanager
    def _prepared(
        self, widths: Mapping[str, int], channel_sets: Mapping[str, Tensor] | None, *, statistics: Sequence[Any]
    ) -> Iterator[Mapping[str, Tensor]]:
        """Activate channel sets, with their running statistics and fresh metrics; restore everything afterwards."""
        inner = self.module.training_module
        self.space.activate(widths, channel_sets)
        effects = SideEffects(inner)
        metrics = [metric for metric in inner.modules() if isinstance(metric, Metric)]
        synced = [(metric.sync_on_compute, metric._to_sync) for metric in metrics]
        try:
            with self.space.prepared() as tensors, seeded(self.seed), torch.no_grad():
                self.module.eval()
                step = statistics_step(inner)
                estimate_statistics(
                    self.space,
                    tensors,
                    statistics,
                    lambda batch: self._silently(_no_log, step, batch, 0),
                    self.module.frozen_statistics,
                )
                for metric in metrics:
                    metric.reset()
                    metric.sync_on_compute = metric._to_sync = False  # each process scores independently
                yield tensors
        finally:
            for metric, sync in zip(metrics, synced):
                metric.sync_on_compute, metric._to_sync = sync
            effects.restore()

    def _losses(self) -> _SetScore:
        means: defaultdict[float, Mean] = defaultdict(Mean)
        inner = self.module.training_module
        step, known = loss_step(inner), draws_nothing(inner)
        shown = ShownMetric(self.shown, inner, self.space, self._validate)
        for index, batch in enumerate(self.heldout):
            run = partial(self._loss_of, step, batch, index)
            with shown.of_batch(batch, index):
                for temperature, loss in self._at_temperatures(run, known=known):
                    if loss is not None:
                        means[temperature].add(loss, batch_size(batch))
        self.shown = shown.name
        at = {temperature: mean.value() for temperature, mean in means.items()}
        return self._set_score(at, lambda temperature: means[temperature].parts(), shown.values())

    def _set_score(
        self,
        at: dict[float, float],
        parts: Callable[[float], tuple[float, ...]],
        shown: Mapping[str, float] | None = None,
    ) -> _SetScore:
        """Choose the score of a channel set among those at all temperatures; ``parts`` returns those of one of them."""
        temperature = self.temperature
        if not at:  # the step skipped all batches
            return _SetScore(math.nan, math.nan, dict.fromkeys(self._temperatures, math.nan), ())
        if temperature is not None:
            return _SetScore(at[temperature], temperature, at, parts(temperature), dict(shown or {}))
        fitted, score = fit_temperature({each: at[each] for each in FIT_GRID})
        nearest = min(FIT_GRID, key=lambda each: abs(math.log(each / fitted)) if fitted > 0 else 0.0)
        return _SetScore(score, fitted, at, parts(nearest), dict(shown or {}))

    def _loss_of(self, step: Step, batch: Any, index: int) -> Tensor | None:
        output = self._silently(_no_log, step, batch, index)
        return None if output is None else loss_of(output)

    def _logged(self) -> _SetScore:
        step = self.module.training_module.validation_step
        logged: defaultdict[float, Logged] = defaultdict(Logged)
        for index, batch in enumerate(self.heldout):

            def run(batch: Any = batch, index: int = index) -> LogCalls:
                calls = LogCalls()
                self._silently(calls, step, batch, index)
                return calls

            for temperature, calls in self._at_temperatures(run, known=False):
                logged[temperature].add(calls, batch_size(batch))
        scores = {temperature: each.value(self.metric) for temperature, each in logged.items()}

        def parts(temperature: float) -> tuple[float, ...]:
            mean = logged[temperature].mean(self.metric)
            return () if mean is None else mean.parts()

        return self._set_score(scores, parts)

    def _validate(self, log: LogCalls, batch: Any, index: int) -> None:
        self._silently(log, self.module.training_module.validation_step, batch, index)

    def _logged_tensor(self, batch: Any) -> Tensor | None:
        """Return the metric that one batch logs, if it is a tensor, with its graph."""
        calls = LogCalls()
        self._silently(calls, self.module.training_module.validation_step, batch, 0)
        value = Logged.values_in(calls).get(self.metric)
        return value if isinstance(value, Tensor) else None

    def _at_temperatures(self, run: Callable[[], _T], *, known: bool) -> Iterator[tuple[float, _T]]:
        """Run a step at the first temperature, then again at the others without the model's forward.

        Effects of the repetitions on metrics, attributes and random generators are undone, unless the step is ``known``
        to have none.
        """
        logits = self._logits
        if not isinstance(logits, Logits):
            yield 1.0, run()
            return

        def divide(temperature: float) -> Callable[[int, Any], Any]:
            return lambda call, output: logits.divided(call, output, temperature)

        own, *others = self._temperatures
        before = None if known else SideEffects(self.module.training_module, exclude=self.space)
        with recorded_outputs(self.space, divide(own)) as outputs:
            result = run()
        after = None if before is None else before.snapshot()
        yield own, result
        for temperature in others:
            if before is not None:
                before.restore()
            with replayed_outputs(self.space, outputs, divide(temperature)):
                result = run()
            yield temperature, result
        if after is not None:
            after.restore()

    def _silently(self, log: Callable[..., None], step: Step, batch: Any, index: int) -> Any:
        """Run a step of the user's module in its precision, with ``self.log`` replaced."""
        inner = self.module.training_module
        before = inner.__dict__.get('log')
        inner.log = log  # type: ignore[method-assign, assignment]
        try:
            with self.context():
                return step(batch, index)
        finally:
            if before is None:
                del inner.log
            else:
                inner.log = before  # type: ignore[method-assign]


@dataclass(frozen=True)
class _SetScore:
    """The score of a channel set at a temperature, ``at`` all temperatures and on parts of the data; a metric to show."""

    score: float
    temperature: float
    at: dict[float, float]
    parts: tuple[float, ...]
    shown: dict[str, float] = field(default_factory=dict)


def _no_log(name: str, value: Any, **_: Any) -> None:
    """Ignore the logged value."""
