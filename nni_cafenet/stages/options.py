"""What a run is asked for, besides its budget and its searcher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ..options import Halving
from ..search import better_when_higher, check_temperature
from ..supernet import LocallyFree, Sharing, TrainingOptions, check_memory
from ..utils import check_flag, check_instance, check_name, check_number, check_seed as checked_seed, check_whole_number

__all__ = ['FinalistOptions', 'RunOptions', 'direction']


@dataclass(frozen=True)
class RunOptions:
    """How the supernet is trained and widths are scored; the same in every process of a run. Made by `checked`.

    Parameters
    ----------
    sharing, channel_sets_per_step, score, higher_is_better, channel_sets_per_score, holdout, score_data,
    statistics_batches, seed, memory,
    temperature
        See `CafeNet`.
    training
        How the supernet is trained, beyond min-min.
    """

    sharing: Sharing
    channel_sets_per_step: int
    score: str
    higher_is_better: bool
    channel_sets_per_score: int
    holdout: float
    score_data: Any
    statistics_batches: int
    seed: int
    memory: str = 'auto'
    temperature: float | None = None
    training: TrainingOptions = field(default_factory=TrainingOptions)

    @classmethod
    def checked(
        cls,
        *,
        sharing: Sharing | None,
        channel_sets_per_step: int,
        score: str,
        higher_is_better: bool | None,
        channel_sets_per_score: int | None,
        holdout: float,
        score_data: Any,
        statistics_batches: int,
        seed: int,
        memory: str = 'auto',
        temperature: float | None = None,
        training: TrainingOptions | None = None,
    ) -> RunOptions:
        """Fill in what was left open; a ValueError or TypeError where an option is out of range."""
        score = check_name('score', score, "'loss' or the name of a metric that validation_step logs")
        up = direction('higher_is_better', higher_is_better)
        channel_sets_per_step = check_whole_number('channel_sets_per_step', channel_sets_per_step, 1)
        return cls(
            sharing=check_instance('sharing', LocallyFree() if sharing is None else sharing, Sharing),
            channel_sets_per_step=channel_sets_per_step,
            score=score,
            higher_is_better=better_when_higher(score) if up is None else up,
            channel_sets_per_score=check_whole_number(
                'channel_sets_per_score',
                channel_sets_per_step if channel_sets_per_score is None else channel_sets_per_score,
                1,
            ),
            holdout=check_number(
                'holdout', holdout, 0, 1, open=True, what='the share of training data that is kept for scores'
            ),
            score_data=batches_of('score_data', score_data),
            statistics_batches=check_whole_number('statistics_batches', statistics_batches, 0),
            seed=checked_seed(seed),
            memory=check_memory(memory),
            temperature=check_temperature(temperature),
            training=TrainingOptions() if training is None else training,
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
        if metric is not None:
            metric = check_name('metric', metric, 'the name of a metric that the evaluator logs')
        higher_is_better = direction('metric_higher_is_better', higher_is_better)
        baseline = check_flag('baseline', baseline)
        finalists = check_whole_number('finalists', number, 0)
        if halving is not None and not drawn:
            halving = Halving.of('finalist_halving', halving)
            if finalists < 2:
                raise ValueError(
                    f'finalists={finalists} leaves nothing to choose by finalist_halving={halving.epochs}. Give '
                    '2 finalists or more, such as finalists=8.'
                )
        return cls(finalists, weights, metric, higher_is_better, baseline, halving, drawn)

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


def direction(name: str, value: Any) -> bool | None:
    """Return which way a metric is better, as users say it: True, False, or None for what its name says."""
    return None if value is None else check_flag(name, value)


def batches_of(name: str, value: Any) -> Any:
    """Return an option that must give batches whenever it is iterated, such as a loader; None stays None."""
    if value is None:
        return None
    if isinstance(value, Dataset) and not isinstance(value, DataLoader):
        raise TypeError(f'{name}: a data set gives samples, not batches. Give DataLoader({name}, batch_size=64).')
    if isinstance(value, (str, bytes)) or not (hasattr(value, '__iter__') or hasattr(value, '__getitem__')):
        raise TypeError(f'{name}={value!r} must be a loader, or a list of batches.')
    if isinstance(value, Iterator):
        raise TypeError(f'{name}: {type(value).__name__} can be read only once. Give a loader, or a list of batches.')
    return value
