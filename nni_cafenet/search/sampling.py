"""Sample random widths within or near a budget, distinct and diverse; move given widths into it.

Everything happens on *levels*: the index of a width among the choices of its group, 0 for the smallest.
A cost never falls when a level grows: on a path that only grows, bisection meets the budget, of all rows at
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .budget import BoolArray, Budget, FloatArray, IntArray, WidthDomain

__all__ = ['LevelSpace', 'enumerate_within', 'move_within', 'new_rows', 'sample_levels', 'sample_within']

_PATH = 1 << 16  # positions on a path: far more than there are steps of one level on it
_CHUNK = 1 << 14  # rows drawn at once, to limit memory
_BLOCK = 1 << 8  # rows whose successors are listed at once, likewise
_POOR = 0.1  # a draw with a smaller useful share is poor
_PATIENCE = 2  # poor draws in a row before something else is tried
_ENUMERATE = 4096  # minimum number of widths to list if sampling finds no more


class LevelSpace:
    """The widths of a domain under a budget, as levels (indices into each group's choices).

    ``labels`` and ``counts`` are the groups, in the order of columns, and their numbers of choices. Raises ValueError
    if the budget was parsed for other choices.
    """

    def __init__(self, domain: WidthDomain, budget: Budget) -> None:
        choices = [(label, tuple(allowed)) for label, allowed in domain.choices.items()]
        if choices != [(label, tuple(allowed)) for label, allowed in budget.domain.choices.items()]:
            raise ValueError(f'budget={budget!r} was parsed for other choices; parse it for this domain')
        self.budget = budget
        self.labels = tuple(label for label, _ in choices)
        self.counts: IntArray = np.array([len(allowed) for _, allowed in choices], np.int64)
        self._levels = {label: {width: i for i, width in enumerate(allowed)} for label, allowed in choices}
        self._choices = [allowed for _, allowed in choices]
        most = max(map(len, self._choices), default=0)
        self._table: IntArray = np.array(
            [[*allowed, *allowed[-1:] * (most - len(allowed))] for allowed in self._choices]
        ).reshape(-1, most)

    def widths(self, levels: IntArray) -> IntArray:
        """Widths, in channels, of levels; both (N, groups)."""
        widths: IntArray = self._table[np.arange(len(self.labels)), levels]
        return widths

    def uniform(self, ratio: float) -> IntArray:
        """Levels (groups,) of the widths that are nearest to one share of each group's full width."""
        wanted = ratio * np.array([self.budget.domain.full_widths[label] for label in self.labels])
        beyond = np.arange(self._table.shape[1]) >= self.counts[:, None]
        distance = np.where(beyond, np.inf, np.abs(self._table - wanted[:, None]))
        nearest: IntArray = distance.argmin(axis=1)
        return nearest

    def usage(self, levels: IntArray) -> FloatArray:
        """Used share of the budget, shape (N,); above 1 exactly where it is exceeded."""
        return self.budget.usage(self.widths(levels))

    def as_dicts(self, levels: IntArray) -> list[dict[str, int]]:
        """Rows of levels as ``{label: width}``, in the choices' own values."""
        return [
            {label: allowed[level] for label, allowed, level in zip(self.labels, self._choices, row)}
            for row in levels.tolist()
        ]

    def from_dicts(self, widths: Iterable[Mapping[str, int]], argument: str) -> IntArray:
        """Levels (N, groups) of ``{label: width}``; a ValueError naming ``argument`` if not of this space."""
        rows = []
        for item in widths:
            wrong = sorted(map(str, set(item) ^ set(self.labels)))
            if wrong:
                raise ValueError(f'{argument}: missing or unknown labels {wrong}; give one width for every group')
            for label, levels in self._levels.items():
                if item[label] not in levels:
                    raise ValueError(f'{argument}: {label!r} has width {item[label]!r}; allowed are {list(levels)}')
            rows.append([levels[item[label]] for label, levels in self._levels.items()])
        return np.array(rows, np.int64).reshape(len(rows), len(self.labels))


def sample_within(
    domain: WidthDomain, budget: Budget, count: int, rng: np.random.Generator, floor: float = 0.8
) -> IntArray:
    """Draw distinct random widths that use between ``floor`` and all of a budget; an array (rows, groups) of channels.

    There are ``count`` rows, or all that the budget allows if these are fewer. If too few rows that reach the floor are
    found, it is lowered as far as needed; these rows come last. Of several limits, the most used one counts. The
    default of 0.8 is our reading of BCNetV2 (candidates within 0.8 B..B).

    Levels are drawn uniformly. A row outside the range then moves along a random path towards the smallest or the full
    network, to a share drawn uniformly from the range. On this path each group moves in a window of its own: under a
    small budget some groups still keep their full width.
    """
    if isinstance(count, bool) or count != int(count) or count < 0:
        raise ValueError(f'count={count!r}: allowed is an integer of 0 or more')
    if not 0 <= floor <= 1:
        raise ValueError(f'floor={floor!r}: allowed is a share of the budget, 0..1')
    space = LevelSpace(domain, budget)
    return space.widths(sample_levels(space, int(count), rng, floor, seen=set()))


def sample_levels(space: LevelSpace, count: int, rng: np.random.Generator, floor: float, seen: set[bytes]) -> IntArray:
    """:func:`sample_within` on levels, without those in ``seen`` (see :func:`new_rows`), and adds to it."""
    smallest = float(space.usage(np.zeros((1, len(space.labels)), np.int64))[0])
    most = max(_ENUMERATE, 2 * count) + len(seen)  # a longer list has enough new ones
    kept: list[IntArray] = [np.empty((0, len(space.labels)), np.int64)]
    missing, lowered, poor, listed = count, floor, 0, None
    while missing:
        if poor == _PATIENCE:
            listed = enumerate_within(space, most) if listed is None else listed
            if len(listed) <= most or lowered <= smallest:
                rows = rng.permutation(listed)
                rows = rows[np.argsort(-np.minimum(space.usage(rows), floor), kind='stable')]
                kept.append(rows[new_rows(rows, seen, missing)])
                break
            lowered, poor = max(0.0, 1 - 2 * max(1 - lowered, 0.01)), 0
        size = min(max(missing, 64), _CHUNK)
        rows = rng.integers(0, space.counts, size=(size, len(space.labels)))
        target = rng.uniform(max(lowered, smallest), 1.0, size=size)
        rows = move_within(space, rows, lowered, rng, target)
        rows = rows[space.usage(rows) >= lowered]
        kept.append(rows[new_rows(rows, seen, missing)])
        missing -= len(kept[-1])
        poor = poor + 1 if len(kept[-1]) < _POOR * size else 0
    return np.concatenate(kept)


def new_rows(levels: IntArray, seen: set[bytes], most: int | None = None) -> BoolArray:
    """Mark the first ``most`` (default: all) rows that are not in ``seen``, each once, and add them to it."""
    new: BoolArray = np.zeros(len(levels), np.bool_)
    left = len(levels) if most is None else most
    for index, row in enumerate(levels):
        if left == 0:
            break
        key = row.tobytes()
        if key not in seen:
            seen.add(key)
            new[index] = True
            left -= 1
    return new


def move_within(
    space: LevelSpace,
    levels: IntArray,
    floor: float,
    rng: np.random.Generator,
    target: FloatArray | None = None,
) -> IntArray:
    """Move rows (N, groups) above the budget or below its floor into the range; the others stay as they are.

    ``target`` (N,) is the share of the budget to move to, not below that of the smallest network; by default no further
    than needed, down to the budget or up to the floor. Only rows that cannot grow by a level stay below the floor.
    """
    usage = space.usage(levels)
    aim = np.where(usage > 1, 1.0, floor) if target is None else target
    (moving,) = np.nonzero((usage > 1) | (usage < floor))
    shrinks, start = usage[moving, None] > 1, levels[moving]
    low, high = np.where(shrinks, 0, start), np.where(shrinks, start, space.counts - 1)
    moved = levels.copy()
    moved[moving] = _grow(space, _slide(space, low, high, aim[moving], rng), floor, rng)
    return moved


def _slide(space: LevelSpace, low: IntArray, high: IntArray, target: FloatArray, rng: np.random.Generator) -> IntArray:
    """The last point within ``target`` on a random path from ``low``, which is within it, to ``high``."""
    ends = np.sort(rng.integers(0, _PATH, size=(2, *low.shape)), axis=0)
    begin, length, gap = ends[0], ends[1] + 1 - ends[0], high - low

    def path(position: IntArray) -> IntArray:
        point: IntArray = low + gap * np.clip(position[:, None] - begin, 0, length) // length
        return point

    position: IntArray = np.zeros(len(low), np.int64)
    step = _PATH
    while step:
        trial = position + step
        fits = (trial <= _PATH) & (space.usage(path(trial)) <= target)
        position = np.where(fits, trial, position)
        step //= 2
    return path(position)


def _grow(space: LevelSpace, levels: IntArray, floor: float, rng: np.random.Generator) -> IntArray:
    """Random steps of one level of rows below the floor, until it is reached or no step fits the budget."""
    levels, usage, can_grow = levels.copy(), space.usage(levels), levels < space.counts - 1
    (rows,) = np.nonzero((usage < floor) & can_grow.any(axis=1))
    while len(rows):
        group = np.where(can_grow[rows], rng.random((len(rows), len(space.labels))), -1.0).argmax(axis=1)
        trial = levels[rows]
        trial[np.arange(len(rows)), group] += 1
        share = space.usage(trial)
        fits = share <= 1
        levels[rows[fits]], usage[rows[fits]] = trial[fits], share[fits]
        # A step that does not fit now never will: costs do not fall while the others grow.
        can_grow[rows, group] = fits & (levels[rows, group] < space.counts[group] - 1)
        rows = rows[(usage[rows] < floor) & can_grow[rows].any(axis=1)]
    return levels


def enumerate_within(space: LevelSpace, most: int) -> IntArray:
    """List the levels (N, groups) that the budget allows, the smallest first: all, or more than ``most``.

    Each is reached once, from the row that is one level lower in its last group above level 0, which is allowed too.
    """
    columns = np.arange(len(space.labels))
    blocks: list[tuple[IntArray, IntArray]] = [(np.zeros((1, len(columns)), np.int64), np.zeros(1, np.int64))]
    done, total = 0, 1
    while done < len(blocks) and total <= most:
        rows, last = blocks[done]
        parent, group = np.nonzero((columns >= last[:, None]) & (rows < space.counts - 1))
        children = rows[parent]
        children[np.arange(len(parent)), group] += 1
        fits = space.usage(children) <= 1
        children, group = children[fits], group[fits]
        blocks += [(children[i : i + _BLOCK], group[i : i + _BLOCK]) for i in range(0, len(group), _BLOCK)]
        done, total = done + 1, total + len(group)
    return np.concatenate([rows for rows, _ in blocks])
