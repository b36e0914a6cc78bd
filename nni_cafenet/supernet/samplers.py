"""How a training loader draws its samples, preserved when its data are split."""

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
    """Draw by seed and epoch only, so that a resumed run sees the samples of an uninterrupted one.

    ``epoch`` is called at the start of every pass and returns a number that grows from epoch to epoch. ``draws`` is the
    number of samples in a pass; None: all of them, once. Without ``weights`` all samples are equally likely.
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
        while left > 0:  # several passes if it draws more samples than there are, as torch's RandomSampler does
            yield from rng.permutation(self.size)[:left].tolist()
            left -= self.size


@dataclass(frozen=True)
class SamplingScheme:
    """How one of torch's samplers draws, in a form that applies to a part of its samples.

    ``samples`` are positions in the data set, ``weights`` their relative probabilities; for the rest see
    `EpochSampler`.
    """

    samples: NDArray[np.int64]
    shuffled: bool
    draws: int | None = None
    replacement: bool = False
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, sampler: Any, size: int) -> SamplingScheme | None:
        """Return the scheme of a sampler of ``size`` samples; None if it is not one of torch's, or does not fit."""
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
        """Return a sampler of the same scheme for the samples at ascending indices ``chosen``.

        Raises ValueError if too few samples with a weight are left.
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
