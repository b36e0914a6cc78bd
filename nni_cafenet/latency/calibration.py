"""Calibrate summed operator times to whole networks by scale and offset, with the prediction error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ['Calibration', 'PredictionError', 'fit', 'others_than', 'prediction_error', 'random_widths']

IntArray = NDArray[np.int64]

_ONE = 1 << 16  # scales are whole multiples of 1 / 65536
_TRIES = 20
_JITTER = 0.25  # how far the groups of random widths stray from their common ratio


@dataclass(frozen=True)
class Calibration:
    """A network takes ``scale / 65536 * operators + offset`` ns; neither is below zero, so the order is kept."""

    scale: int = _ONE
    offset: int = 0

    def __call__(self, operators: IntArray) -> IntArray:
        """Return the predicted times, ns, of networks from the summed times of their operators, ns."""
        whole, part = np.divmod(np.asarray(operators, np.int64), _ONE)  # to avoid overflow
        return whole * self.scale + part * self.scale // _ONE + self.offset


def fit(operators: Sequence[int], measured: Sequence[int]) -> Calibration:
    """Fit scale and offset, both zero or more, to measured networks: least squares of the relative errors.

    ``operators`` are the summed times of the operators of each network, ``measured`` its own time, in ns above zero.
    """
    from scipy.optimize import nnls

    sums, times = np.asarray(operators, np.float64), np.asarray(measured, np.float64)
    (scale, offset), _ = nnls(np.column_stack([sums / times, times.mean() / times]), np.ones(len(times)))
    return Calibration(round(float(scale) * _ONE), round(float(offset) * times.mean()))


@dataclass(frozen=True)
class PredictionError:
    """The error of predicted times at widths that played no part in the calibration.

    ``median`` and ``worst`` are relative errors: 0.05 is 5 % of the real time. ``rank_correlation`` is Spearman's.
    ``widths`` is the number of networks timed.
    """

    median: float
    worst: float
    rank_correlation: float
    widths: int

    def __str__(self) -> str:
        return (
            f'median {100 * self.median:.1f} %, worst {100 * self.worst:.1f} %, '
            f'rank correlation {self.rank_correlation:.3f} ({self.widths} random widths)'
        )


def prediction_error(predicted: Sequence[int], measured: Sequence[int]) -> PredictionError:
    """Compare predicted with real times, ns, of two networks or more."""
    from scipy.stats import spearmanr

    ours, real = np.asarray(predicted, np.float64), np.asarray(measured, np.float64)
    wrong = np.abs(ours - real) / real
    constant = len(set(predicted)) == 1 or len(set(measured)) == 1
    rank = 0.0 if constant else float(spearmanr(ours, real)[0])
    return PredictionError(float(np.median(wrong)), float(wrong.max()), rank, len(wrong))


def random_widths(choices: Mapping[str, Sequence[int]], number: int, rng: np.random.Generator) -> IntArray:
    """Draw widths (number, groups) uniformly over network sizes: one ratio each, from which every group deviates."""
    center = (np.arange(number) + rng.random(number))[:, None] / max(number, 1)
    ratio = np.clip(center + rng.uniform(-_JITTER, _JITTER, (number, len(choices))), 0, 1)
    columns = [
        np.asarray(allowed, np.int64)[np.rint(ratio[:, column] * (len(allowed) - 1)).astype(np.int64)]
        for column, allowed in enumerate(choices.values())
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((number, 0), np.int64)


def others_than(
    known: IntArray, choices: Mapping[str, Sequence[int]], number: int, rng: np.random.Generator
) -> IntArray:
    """Draw widths as `random_widths` does, none of them in ``known`` (N, groups) as far as a small space allows."""
    seen = set(map(tuple, known.tolist()))
    drawn = random_widths(choices, number, rng)
    for _ in range(_TRIES):
        taken = np.array([tuple(row) in seen for row in drawn.tolist()])
        if not taken.any():
            break
        drawn = np.where(taken[:, None], rng.permutation(random_widths(choices, number, rng)), drawn)
    return drawn
