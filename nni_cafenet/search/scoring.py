"""The score of a width: how good the supernet is on held-out training data, with running statistics of that width."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ..randomness import seeded
from ..space.width_space import WidthSpace
from ..supernet.batch_norm import estimate_statistics
from ..supernet.isolation import SideEffects
from ..supernet.lightning import MinMinModule, loss_of
from ..supernet.sharing import Sharing
from .history import Scored
from .steps import Step, loss_step, statistics_step

__all__ = ['Scorer']


class Scorer:
    """Score widths in place, on the same cached batches for all.

    The score of a width depends on the supernet, the batches, the width and the seed only: not on what was scored before.

    Parameters
    ----------
    module
        The trained supernet, on the device that it shall run on.
    sharing
        Gives channel sets to widths.
    heldout
        Batches of held-out training data, on the same device.
    statistics
        Batches of training data from which running statistics are re-estimated; none: they stay as they are.
    score
        ``'loss'``: the loss of the user's ``training_step`` in evaluation mode. Any other name: that metric, as the
        user's ``validation_step`` logs it.
    higher_is_better
        Which way the score is better; None: a name with 'loss' or 'error' in it is better when lower.
    patterns
        Channel sets that are tried for a width, the leftmost one first; the best of them stands for it.
    seed
        Seed of channel sets, and of whatever the steps draw.
    context
        Called for a context in which the model runs (precision).
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
        patterns: int = 1,
        seed: int = 0,
        context: Callable[[], Any],
    ) -> None:
        self.module = module
        self.sharing = sharing
        self.heldout = heldout
        self.statistics = statistics
        self.metric = score
        self.higher_is_better = better_when_higher(score) if higher_is_better is None else higher_is_better
        self.patterns = patterns
        self.seed = seed
        self.context = context

    @property
    def space(self) -> WidthSpace:
        """The supernet."""
        return self.module.space

    def score(self, widths: Mapping[str, int]) -> Scored:
        """Score a width by the best of its channel sets."""
        sets = self._channel_sets(widths)
        scores = [self._score_set(widths, channel_sets) for channel_sets in sets]
        sign = 1 if self.higher_is_better else -1
        best = max(range(len(sets)), key=lambda i: -math.inf if math.isnan(scores[i]) else sign * scores[i])
        return Scored(
            widths=dict(widths),
            macs=self.space.macs(widths),
            params=self.space.params(widths),
            score=scores[best],
            channel_sets={label: chosen.tolist() for label, chosen in sets[best].items()},
            scores=tuple(scores),
        )

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of a scored width, with the statistics that it was scored with."""
        sets = {label: torch.tensor(channels) for label, channels in scored.channel_sets.items()}
        slim = self.space.slim(scored.widths, sets)
        with self._prepared(scored.widths, sets) as tensors:
            for name, buffer in slim.named_buffers():
                buffer.copy_(tensors[name])
        return slim

    def _channel_sets(self, widths: Mapping[str, int]) -> list[dict[str, Tensor]]:
        """Return different channel sets of a width, the same ones whenever it is scored."""
        rng = np.random.default_rng([self.seed, *(widths[label] for label in self.space.labels)])
        return self.sharing.different(self.space.groups, widths, self.patterns, rng)

    def _score_set(self, widths: Mapping[str, int], channel_sets: Mapping[str, Tensor]) -> float:
        with self._prepared(widths, channel_sets):
            return self._loss() if self.metric == 'loss' else self._logged()

    @contextlib.contextmanager
    def _prepared(
        self, widths: Mapping[str, int], channel_sets: Mapping[str, Tensor]
    ) -> Iterator[Mapping[str, Tensor]]:
        """Run on channel sets, with their running statistics and fresh metrics; afterwards all is as it was."""
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
                    self.space, tensors, self.statistics, lambda batch: self._silently(_no_log, step, batch, 0)
                )
                for metric in metrics:
                    metric.reset()
                    metric.sync_on_compute = metric._to_sync = False  # every process scores by itself
                yield tensors
        finally:
            for metric, sync in zip(metrics, synced):
                metric.sync_on_compute, metric._to_sync = sync
            effects.restore()

    def _loss(self) -> float:
        losses, step = Mean(), loss_step(self.module.training_module)
        for index, batch in enumerate(self.heldout):
            output = self._silently(_no_log, step, batch, index)
            if output is not None:
                losses.add(loss_of(output), batch_size(batch))
        return losses.value()

    def _logged(self) -> float:
        means: dict[str, Mean] = {}
        metrics: dict[str, Any] = {}
        step = self.module.training_module.validation_step
        for index, batch in enumerate(self.heldout):
            size = batch_size(batch)

            def log(name: str, value: Any, size: int = size, **_: Any) -> None:
                if hasattr(value, 'compute'):
                    metrics[name] = value
                else:
                    means.setdefault(name, Mean()).add(value, size)

            self._silently(log, step, batch, index)
        values = {name: mean.value() for name, mean in means.items()}
        for name, metric in metrics.items():
            values[name] = float(metric.compute())
            metric.reset()
        if self.metric not in values:
            raise ValueError(
                f"score={self.metric!r}: the evaluator's validation_step logs no such metric. "
                f"It logs {', '.join(sorted(values)) or 'nothing'}; or use score='loss'."
            )
        return values[self.metric]

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


class Mean:
    """The mean of what batches give, weighted by their samples.

    Tensors become numbers at the end only: a GPU would be waited for after each batch.
    """

    def __init__(self) -> None:
        self._values: list[tuple[Any, int]] = []

    def add(self, value: Any, samples: int) -> None:
        """Add what a batch gave; the tensor may be written over afterwards."""
        self._values.append((value.clone() if isinstance(value, Tensor) else value, samples))

    def value(self) -> float:
        """Return the mean; NaN of nothing."""
        samples = sum(each for _, each in self._values)
        return sum(float(value) * each for value, each in self._values) / samples if samples else math.nan


def _no_log(name: str, value: Any, **_: Any) -> None:
    """Take what a step logs, and forget it."""


def better_when_higher(score: str) -> bool:
    """Guess which way a metric is better, from its name."""
    return not any(word in score.lower() for word in ('loss', 'error', 'err', 'mse', 'mae', 'perplexity'))


def batch_size(batch: Any) -> int:
    """Return the number of samples of a batch: dimension 0 of its first tensor, or the length of a list of samples.

    Detectors take a list of pictures and a list of mappings, one a picture. 1 where there is no tensor.
    """
    if isinstance(batch, (tuple, list)) and batch and isinstance(batch[-1], (tuple, list)):
        samples = batch[-1]
        if samples and all(isinstance(each, Mapping) for each in samples):
            return len(samples)
    for leaf in torch.utils._pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.dim() > 0:
            return int(leaf.shape[0])
    return 1
