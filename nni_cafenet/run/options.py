"""What a run is asked for, besides its budget and its searcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..search.halving import Halving
from ..search.scoring import better_when_higher
from ..supernet.room import check_memory
from ..supernet.sharing import LocallyFree, Sharing

__all__ = ['FinalistOptions', 'RunOptions', 'at_least', 'instance']


@dataclass(frozen=True)
class RunOptions:
    """How the supernet is trained and widths are scored; the same in every process of a run. Made by `checked`.

    Parameters
    ----------
    sharing, patterns, score, higher_is_better, score_patterns, holdout, score_data, statistics_batches, seed, memory
        See `CafeNet`.
    """

    sharing: Sharing
    patterns: int
    score: str
    higher_is_better: bool
    score_patterns: int
    holdout: float
    score_data: Any
    statistics_batches: int
    seed: int
    memory: str = 'auto'

    @classmethod
    def checked(
        cls,
        *,
        sharing: Sharing | None,
        patterns: int,
        score: str,
        higher_is_better: bool | None,
        score_patterns: int | None,
        holdout: float,
        score_data: Any,
        statistics_batches: int,
        seed: int,
        memory: str = 'auto',
    ) -> RunOptions:
        """Fill in what was left open; a ValueError or TypeError where an option is out of range."""
        if not isinstance(holdout, (int, float)) or not 0 < holdout < 1:
            raise ValueError(
                f'holdout={holdout!r} must lie between 0 and 1: the share of training data kept for scores.'
            )
        return cls(
            sharing=instance('sharing', LocallyFree() if sharing is None else sharing, Sharing),
            patterns=at_least('patterns', patterns, 1),
            score=score,
            higher_is_better=better_when_higher(score) if higher_is_better is None else higher_is_better,
            score_patterns=at_least('score_patterns', patterns if score_patterns is None else score_patterns, 1),
            holdout=float(holdout),
            score_data=score_data,
            statistics_batches=at_least('statistics_batches', statistics_batches, 0),
            seed=at_least('seed', seed, 0),
            memory=check_memory(memory),
        )


@dataclass(frozen=True)
class FinalistOptions:
    """How the best widths are trained at the end of a run.

    Parameters
    ----------
    number, weights, metric, higher_is_better, baseline, halving
        ``finalists``, ``finalist_weights``, ``metric``, ``metric_higher_is_better``, ``baseline`` and
        ``finalist_halving`` of `CafeNet`.
    drawn
        Random widths that short trainings choose from, the uniform network among them; 0: the best ones of the search.
    """

    number: int
    weights: str
    metric: str | None
    higher_is_better: bool | None
    baseline: bool = True
    halving: Halving | None = None
    drawn: int = 0

    @classmethod
    def checked(
        cls,
        *,
        number: int,
        weights: str,
        metric: str | None,
        higher_is_better: bool | None,
        baseline: bool = True,
        halving: Any = None,
        drawn: int = 0,
    ) -> FinalistOptions:
        """Return the options; a ValueError where one is out of range."""
        if weights not in ('fresh', 'inherited'):
            raise ValueError(f"finalist_weights={weights!r} must be 'fresh' or 'inherited'.")
        if not isinstance(baseline, bool):
            raise TypeError(f'baseline={baseline!r} must be True or False.')
        number = at_least('finalists', number, 0)
        if halving is not None and not drawn:
            halving = Halving.of('finalist_halving', halving)
            if number < 2:
                raise ValueError(
                    f'finalists={number} leaves nothing to choose by finalist_halving={halving.epochs}. Give 2 finalists '
                    'or more, such as finalists=8.'
                )
        return cls(number, weights, metric, higher_is_better, baseline, halving, drawn)

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


def instance(name: str, value: Any, kind: type) -> Any:
    """Return an option that must be of some class; a TypeError otherwise."""
    if not isinstance(value, kind):
        raise TypeError(f'{name}={value!r} must be a {kind.__name__}.')
    return value


def at_least(name: str, value: Any, least: int) -> int:
    """Return an option that must be a whole number of some size; a ValueError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f'{name}={value!r} must be a whole number, {least} or more.')
    return value
