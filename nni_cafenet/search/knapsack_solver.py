"""Levels of the largest total value within a budget: a knapsack whose costs are products of widths."""

from __future__ import annotations

import itertools

import numpy as np

from ..utils import LateProgress
from .budget import FloatArray, IntArray
from .sampling import LevelSpace
from .uniform import uniform_levels

__all__ = ['most_valuable']

_CELLS = 2048  # parts of the discretized cost
_BEYOND = 1.5  # costs up to this share of the current ones are tabulated
_ROUNDS = 12  # linearizations from a start, at most
_MIXES = 4  # parts of the weights that several limits are mixed by
_STEPS = 400  # exchanges, at most
_MOVES = (1, 2, 3)  # levels that an exchange adds or takes
_BLOCK = 1 << 12  # exchanges whose costs are computed at once
_GAIN = 1e-9  # smallest share of the value that counts as an improvement


def most_valuable(space: LevelSpace, values: FloatArray) -> IntArray:
    """Return levels (groups,) within the budget whose values (groups, levels) have the largest sum that is found.

    Values do not fall when a level grows. Each round fixes all groups but one to price the levels of that one exactly,
    so that costs become a sum over groups, and solves that multiple-choice knapsack for many amounts of cost at once by
    dynamic programming. The solutions are checked against the exact costs, and the best one within the budget is the next
    point. In the end pairs of groups exchange levels, and no group of the result can grow by another one.
    """
    smallest: IntArray = np.zeros(len(space.labels), np.int64)
    starts = [uniform_levels(space), _shrunk(space, values)]
    mixes = _mixes(len(space.budget.limits))
    with LateProgress('Knapsack', len(starts) * len(mixes) * _ROUNDS + _STEPS, 'steps') as progress:
        best = smallest
        for start, mix in itertools.product(starts, mixes):
            point = start
            for _ in range(_ROUNDS):
                progress.step()
                found = _linearized(space, values, point, mix)
                if found is None or _value(values, found) <= _value(values, point) + _gain(values, point):
                    break
                point = found
            best = max(best, point, key=lambda levels: _value(values, levels))
        for _ in range(_STEPS):
            progress.step()
            better = _exchanged(space, values, best)
            if better is None:
                break
            best = better
    return best


def _value(values: FloatArray, levels: IntArray) -> float:
    return float(values[np.arange(len(levels)), levels].sum())


def _gain(values: FloatArray, levels: IntArray) -> float:
    """Return the smallest difference from the value of levels that counts."""
    return _GAIN * abs(_value(values, levels))


def _mixes(limits: int) -> list[FloatArray]:
    """Return weights of several limits, each of sum 1."""
    parts = itertools.product(range(_MIXES + 1), repeat=limits)
    return [np.array(each) / _MIXES for each in parts if sum(each) == _MIXES]


def _changed(levels: IntArray, groups: IntArray, to: IntArray) -> IntArray:
    """Return copies of levels, in each of which one group has another level."""
    rows = np.repeat(levels[None], len(groups), axis=0)
    rows[np.arange(len(groups)), groups] = to
    return rows


def _prices(space: LevelSpace, point: IntArray, mix: FloatArray) -> FloatArray:
    """Price every level of each group (groups, levels) above its smallest, the others as they are; shares of the limits."""
    groups, levels = np.nonzero(np.arange(space.counts.max()) < space.counts[:, None])
    costs = space.budget.costs(space.widths(_changed(point, groups, levels)))
    total = sum(share * costs[key] / limit for share, (key, limit) in zip(mix, space.budget.limits.items()))
    prices: FloatArray = np.full((len(space.counts), int(space.counts.max())), np.inf)
    prices[groups, levels] = total
    return prices - prices[:, :1]


def _linearized(space: LevelSpace, values: FloatArray, point: IntArray, mix: FloatArray) -> IntArray | None:
    """Return the best of many solutions at the prices of a point that is within the budget; None if none is."""
    prices = _prices(space, point, mix)
    most = _BEYOND * prices[np.arange(len(point)), point].sum()
    if not most > 0:
        return None
    rows = _multiple_choice(values, prices / most * _CELLS)
    rows = np.unique(rows, axis=0)
    rows = rows[space.usage(rows) <= 1]
    if len(rows) == 0:
        return None
    best: IntArray = rows[values[np.arange(len(point)), rows].sum(axis=1).argmax()]
    return best


def _multiple_choice(values: FloatArray, prices: FloatArray) -> IntArray:
    """Solve a multiple-choice knapsack for every amount of 0.._CELLS; rows (_CELLS + 1, groups) of levels.

    Prices are rounded to whole cells. The value of an amount is the largest of all choices that cost no more.
    """
    groups = len(values)
    whole = np.where(np.isfinite(prices), np.rint(np.minimum(prices, _CELLS + 1)), _CELLS + 1).astype(np.int64)
    best: FloatArray = np.zeros(_CELLS + 1)
    chosen: IntArray = np.zeros((groups, _CELLS + 1), np.int64)
    for group in range(groups):
        after: FloatArray = np.full(_CELLS + 1, -np.inf)
        for level in np.flatnonzero(whole[group] <= _CELLS).tolist():
            price = int(whole[group, level])
            trial = best[: _CELLS + 1 - price] + values[group, level]
            better = trial > after[price:]
            after[price:][better] = trial[better]
            chosen[group, price:][better] = level
        best = after
    left: IntArray = np.arange(_CELLS + 1)
    rows: IntArray = np.empty((_CELLS + 1, groups), np.int64)
    for group in reversed(range(groups)):
        rows[:, group] = chosen[group, left]
        left = left - whole[group, rows[:, group]]
    return rows


def _shrunk(space: LevelSpace, values: FloatArray) -> IntArray:
    """Take levels from the full network, each time those whose value is least for their exact cost, until it fits."""
    levels: IntArray = space.counts - 1
    usage = float(space.usage(levels[None])[0])
    while usage > 1:
        groups = np.flatnonzero(levels > 0)
        rows = _changed(levels, groups, levels[groups] - 1)
        after = space.usage(rows)
        lost = values[groups, levels[groups]] - values[groups, levels[groups] - 1]
        with np.errstate(divide='ignore', invalid='ignore'):
            rate = np.where(after < usage, lost / (usage - after), np.inf)
        index = int(rate.argmin()) if np.isfinite(rate).any() else int(lost.argmin())
        levels, usage = rows[index], float(after[index])
    return levels


def _exchanged(space: LevelSpace, values: FloatArray, levels: IntArray) -> IntArray | None:
    """Return the most valuable levels within the budget in which one group grows, and at most one other shrinks."""
    pairs = [
        (up, down, more, less)
        for more in _MOVES
        for less in (0, *_MOVES)
        for up, down in [np.nonzero(_may_change(space, levels, more, less))]
    ]
    up, down = (np.concatenate([pair[which] for pair in pairs]) for which in (0, 1))
    more, less = (np.concatenate([np.full(len(pair[0]), pair[which]) for pair in pairs]) for which in (2, 3))
    gain = values[up, levels[up] + more] - values[up, levels[up]]
    gain = gain - values[down, levels[down]] + values[down, levels[down] - less]
    useful = np.flatnonzero((gain > _gain(values, levels)) | ((less == 0) & (gain >= 0)))
    useful = useful[np.argsort(-gain[useful], kind='stable')]
    for first in range(0, len(useful), _BLOCK):
        some = useful[first : first + _BLOCK]
        rows = _changed(levels, up[some], levels[up[some]] + more[some])
        rows[np.arange(len(some)), down[some]] -= less[some]
        fits = np.flatnonzero(space.usage(rows) <= 1)
        if len(fits):
            found: IntArray = rows[fits[0]]
            return found
    return None


def _may_change(space: LevelSpace, levels: IntArray, more: int, less: int) -> IntArray:
    """Mark pairs (groups, groups) of which the first may grow and the second shrink; without shrinking, the diagonal."""
    grows = (levels + more < space.counts)[:, None]
    if less == 0:
        return grows & np.eye(len(levels), dtype=bool)  # type: ignore[return-value]
    return grows & (levels >= less) & ~np.eye(len(levels), dtype=bool)  # type: ignore[return-value]
