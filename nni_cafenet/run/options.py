"""What a run is asked for, besides its budget and its searcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    number, weights, metric, higher_is_better, baseline
        ``finalists``, ``finalist_weights``, ``metric``, ``metric_higher_is_better`` and ``baseline`` of `CafeNet`.
    """

    number: int
    weights: str
    metric: str | None
    higher_is_better: bool | None
    baseline: bool = True

    @classmethod
    def checked(
        cls, *, number: int, weights: str, metric: str | None, higher_is_better: bool | None, baseline: bool = True
    ) -> FinalistOptions:
        """Return the options; a ValueError where one is out of range."""
        if weights not in ('fresh', 'inherited'):
            raise ValueError(f"finalist_weights={weights!r} must be 'fresh' or 'inherited'.")
        if not isinstance(baseline, bool):
            raise TypeError(f'baseline={baseline!r} must be True or False.')
        return cls(at_least('finalists', number, 0), weights, metric, higher_is_better, baseline)


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
