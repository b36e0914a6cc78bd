"""Options of the networks that are trained at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass

from . import kinds
from .halving import Halving
from .record import Record, option

__all__ = ['FinalistOptions']


@dataclass(frozen=True, kw_only=True)
class FinalistOptions(Record):
    """How the best widths are trained at the end of a run; `CafeNet` describes the options.

    ``drawn`` is the number of random widths that short trainings choose from, the uniform network among them; 0: the
    best ones of the search.
    """

    number: int = option(
        0, kinds.whole_number(0), 'how many of the best widths are trained at the end', argument='finalists'
    )
    weights: str = option(
        'fresh',
        kinds.choice('fresh', 'inherited'),
        'the weights that finalists start from',
        argument='finalist_weights',
    )
    metric: str | None = option(
        None, kinds.text('the name of a metric that the evaluator logs').or_none(), 'what finalists are ranked by'
    )
    higher_is_better: bool | None = option(
        None,
        kinds.flag().or_none(),
        'which way the metric is better (default: as its name says)',
        argument='metric_higher_is_better',
    )
    baseline: bool = option(
        True,
        kinds.flag(),
        'train the uniformly scaled network of the budget as well; it is the result if none is better',
    )
    halving: Halving | None = None
    drawn: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.halving is None or self.drawn:
            return
        halving = Halving.of('finalist_halving', self.halving)
        object.__setattr__(self, 'halving', halving)
        if self.number < 2:
            raise ValueError(
                f'finalists={self.number} leaves nothing to choose by finalist_halving={halving.epochs}. Give '
                '2 finalists or more, such as finalists=8.'
            )

    @property
    def candidates(self) -> int:
        """The number of networks, of one budget, that finalists are chosen from."""
        return self.drawn or self.number

    @property
    def short_trainings(self) -> int:
        """The number of short trainings that choose the finalists of one budget."""
        return 0 if self.halving is None else sum(self.halving.sizes(self.candidates))

    @property
    def trainings(self) -> int:
        """The number of trainings of one budget, short and full ones."""
        full = self.number
        if self.halving is not None and not self.drawn:
            full = self.halving.kept(self.halving.sizes(self.number)[-1])
        return self.short_trainings + (full + self.baseline if full else 0)
