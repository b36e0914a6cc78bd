"""How a training loader draws its samples, kept where the loader is cut in two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler

from ..utils import draws_of

__all__ = ['EpochSampler', 'SamplingScheme']


class EpochSampler(Sampler[int]):
    """Draw by seed and epoch alone, so that a resumed run sees the samples of the run that it continues.

    Parameters
    ----------
    size
        Number of samples.
    seed
        Seed.
    epoch
        Called at the start of every pass; returns a number that grows from epoch to epoch.
    draws
        Samples in a pass; None: all of them, once.
    replacement
        A sample may be drawn several times in a pass.
    weights
        How often each sample is drawn, in proportion; None: all alike.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        epoch: Callable[[], int],
        *,
        draws: int | None = None,
        replacement: bool = False,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.size = size
        self.seed = seed
        self.epoch = epoch
        self.draws = size if draws is None else draws
        self.replacement = replacement
        self.weights = weights

    def __len__(self) -> int:
        return self.draws

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, 1 + self.epoch()])
        if self.replacement or self.weights is not None:
            shares = None if self.weights is None else self.weights / self.weights.sum()
            yield from rng.choice(self.size, size=self.draws, replace=self.replacement, p=shares).tolist()
            return
        left = self.draws
        while left > 0:  # several passes where more samples are drawn than there are, as torch's RandomSampler does
            yield from rng.permutation(self.size)[:left].tolist()
            left -= self.size


@dataclass(frozen=True)
class SamplingScheme:
    """What a sampler of torch does, as far as it can be done with a part of its samples.

    Parameters
    ----------
    samples
        Positions in the data set that it draws from.
    shuffled
        They are drawn in random order.
    draws
        Samples in a pass; None: all of them, once.
    replacement
        A sample may be drawn several times in a pass.
    weights
        How often each of `samples` is drawn, in proportion; None: all alike.
    """

    samples: NDArray[np.int64]
    shuffled: bool
    draws: int | None = None
    replacement: bool = False
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, sampler: Any, size: int) -> SamplingScheme | None:
        """Return what the sampler of a data set of some size does; None if it is none of torch's, or does not fit."""
        everything = np.arange(size)
        if type(sampler) is SequentialSampler:
            return cls(everything, False)
        if type(sampler) is RandomSampler:
            return cls(everything, True, draws_of(sampler), bool(sampler.replacement))
        if type(sampler) is SubsetRandomSampler:
            samples = np.asarray(list(sampler.indices), dtype=np.int64)
            return cls(samples, True) if len(np.unique(samples)) == len(samples) else None
        if type(sampler) is WeightedRandomSampler and len(sampler.weights) == size:
            weights = np.asarray(sampler.weights, dtype=np.float64)
            return cls(everything, True, sampler.num_samples, bool(sampler.replacement), weights)
        return None

    def sampler(self, chosen: NDArray[np.int64], seed: int, epoch: Callable[[], int]) -> Sampler[int]:
        """Return a sampler that does the same with some of the samples.

        Parameters
        ----------
        chosen
            Which of `samples`, as positions among them, ascending.
        seed, epoch
            Of the `EpochSampler`.

        Raises
        ------
        ValueError
            If too few samples are left that could be drawn.
        """
        if not self.shuffled:
            return SequentialSampler(range(len(chosen)))
        weights = None if self.weights is None else self.weights[chosen]
        if weights is not None:
            possible, draws = int(np.count_nonzero(weights)), int(self.draws or 0)
            if possible < (1 if self.replacement else draws):
                raise ValueError(
                    f'The WeightedRandomSampler of the training loader draws {draws} samples, but {possible} of those that '
                    'are left for training have a weight. Draw fewer, with replacement, or give score_data=, a loader of '
                    'held-out training data.'
                )
        return EpochSampler(len(chosen), seed, epoch, draws=self.draws, replacement=self.replacement, weights=weights)
