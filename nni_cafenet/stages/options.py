"""What a run is asked for, besides its budget, its searcher and its finalists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ..options import ScoreOptions, SupernetOptions
from ..search import better_when_higher
from ..supernet import LocallyFree, Sharing, TrainingOptions
from ..utils import check_instance

__all__ = ['MOST_STATISTICS_BATCHES', 'RunOptions']

MOST_STATISTICS_BATCHES = 20


@dataclass(frozen=True, kw_only=True)
class RunOptions(SupernetOptions, ScoreOptions):
    """How the supernet is trained and widths are scored; the same in every process of a run.

    What is left open is filled in: ``higher_is_better`` by the name of the score, ``channel_sets_per_score`` by the
    channel sets of a training step, ``statistics_batches`` by 20.
    """

    sharing: Sharing = field(default_factory=LocallyFree)
    score_data: Any = None
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        left_open = {
            'higher_is_better': better_when_higher(self.score),
            'channel_sets_per_score': self.channel_sets_per_step,
            'statistics_batches': MOST_STATISTICS_BATCHES,
            'sharing': LocallyFree(),
            'training': TrainingOptions(),
        }
        for name, value in left_open.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_instance('sharing', self.sharing, Sharing)
        batches_of('score_data', self.score_data)

    @classmethod
    def checked(cls, **given: Any) -> RunOptions:
        """Return the options that users give, in which None may stand for what is left open."""
        return cls(**given)


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
