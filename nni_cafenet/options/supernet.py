"""Options of the supernet and of the scores that it gives to widths."""

from __future__ import annotations

from dataclasses import dataclass

from . import kinds
from .record import Record, option

__all__ = ['ScoreOptions', 'SupernetOptions']


@dataclass(frozen=True, kw_only=True)
class SupernetOptions(Record):
    """How the supernet is trained; `CafeNet` describes the options in full."""

    channel_sets_per_step: int = option(
        2, kinds.whole_number(1), 'channel sets compared in a training step of the supernet'
    )
    memory: str = option(
        'auto',
        kinds.choice('auto', 'fast', 'lean'),
        'graphs held during such a step: fast: two; lean: one, at the cost of another forward; auto: fast while memory '
        'allows',
    )
    ema: float | None = option(
        None,
        kinds.number_between(0, 1, open=True).or_none(),
        "decay of a moving average of the supernet's weights, such as 0.999, on which widths are scored",
    )
    seed: int = option(0, kinds.seed(), 'seed of all random numbers')


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Record):
    """How widths are scored on the supernet; `CafeNet` describes the options.

    ``None`` for ``higher_is_better``, ``channel_sets_per_score`` and ``statistics_batches`` is replaced in `RunOptions`.
    """

    score: str = option(
        'loss',
        kinds.text('a name'),
        'what widths are ranked by: loss, or a metric that validation logs, such as val_acc',
    )
    higher_is_better: bool = option(
        None, kinds.flag().or_none(), 'which way the score is better (default: as its name says)'
    )
    temperature: float | None = option(
        None,
        kinds.number_above(0).or_none(),
        'divisor of logits while widths are scored (default: fitted to each width if the score is a cross-entropy, else 1)',
    )
    channel_sets_per_score: int = option(
        None,
        kinds.whole_number(1).or_none(),
        'channel sets tried for the score of a width (default: as many as in a training step)',
    )
    holdout: float = option(
        0.1, kinds.number_between(0, 1, open=True), 'share of the training data held out for scores'
    )
    statistics_batches: int = option(
        None,
        kinds.whole_number(0).or_none(),
        'training batches from which running statistics are re-estimated; 0: none (default: 20; fewer if data and '
        'training are small)',
    )
