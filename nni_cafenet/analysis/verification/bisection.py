"""Bisect for the channel groups with which a model fails, kind by kind, within a bound on the number of checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from ...utils import LateProgress

__all__ = ['failing_groups', 'of_their_kinds']

_MOST_WITHOUT_RESULT = 4
"""Searches without a result, after which all groups that are left count as failing."""

_MOST_CHECKS = 120
"""Checks, after which all groups that are not told apart count as failing."""

_MEMBERS = 3
"""Groups of one kind that are checked alone; if all of them fail, so does their kind."""

Failure = Callable[[list[str]], str | None]
Repair = Callable[[list[str]], bool]


def failing_groups(
    labels: list[str],
    failure: Failure,
    repair: Repair,
    suspects: Callable[[], Collection[str]] = tuple,
    most: int = _MOST_CHECKS,
) -> dict[str, str]:
    """Bisect for failing groups until the remaining ones pass together; return ``{label: reason}``.

    Parameters
    ----------
    labels
        The groups.
    failure
        Checks groups together; says what is wrong, or returns None.
    repair
        Called after a failure with the same groups. If it returns True, it has changed the model's graph so that it passes.
    suspects
        Returns the groups that the last failure points at. They and those of their kinds are looked at first.
    most
        Most checks while looking for groups.
    """
    with LateProgress('Looking for channels that cannot change', most, 'checks') as progress:
        return _Bisection(failure, repair, suspects, most, progress).search(labels)


class _Bisection:
    def __init__(
        self,
        failure: Failure,
        repair: Repair,
        suspects: Callable[[], Collection[str]],
        most: int,
        progress: LateProgress,
    ) -> None:
        self._failure = failure
        self._repair = repair
        self._suspects = suspects
        self._left = most
        self._progress = progress
        self.reasons: dict[str, str] = {}

    def search(self, labels: list[str]) -> dict[str, str]:
        left, without_result = labels, 0
        while (problem := self._failure(left)) is not None:
            suspects = self._suspects()
            if self._repair(left):
                break
            before = len(self.reasons)
            near = of_their_kinds(left, suspects)
            rest = [label for label in left if label not in near]
            if near and rest and self._check(rest) is None:
                self._bisect(rest, _kinds(near))
            else:
                self._bisect([], _kinds(left))
            without_result += len(self.reasons) == before
            if without_result >= _MOST_WITHOUT_RESULT or self._left <= 0:
                self.reasons.update({label: problem for label in left if label not in self.reasons})
            left = [label for label in left if label not in self.reasons]
        return self.reasons

    def _check(self, labels: list[str]) -> str | None:
        self._left -= 1
        self._progress.step()
        return self._failure(labels)

    def _bisect(self, accepted: list[str], kinds: Sequence[list[str]]) -> list[str]:
        """Add the failing ones among groups, given kind by kind, to the reasons; return the accepted groups."""
        candidates = [label for members in kinds for label in members]
        problem = self._check([*accepted, *candidates]) if candidates else None
        if problem is None:
            return [*accepted, *candidates]
        if len(candidates) == 1:
            if self._repair([*accepted, *candidates]):
                return [*accepted, *candidates]
            self.reasons[candidates[0]] = problem
            return accepted
        if self._left <= 0:
            self.reasons.update(dict.fromkeys(candidates, problem))
            return accepted
        if len(kinds) == 1:
            return self._bisect_kind(accepted, kinds[0])
        half = len(kinds) // 2
        accepted = self._bisect(accepted, kinds[:half])
        return self._bisect(accepted, kinds[half:])

    def _bisect_kind(self, accepted: list[str], members: list[str]) -> list[str]:
        """Bisect among groups of one kind, which mostly fail together."""
        each = [[label] for label in members]
        problem: str | None = None
        for index in sorted({round(part * (len(members) - 1) / (_MEMBERS - 1)) for part in range(_MEMBERS)}):
            problem = self._check([*accepted, members[index]])
            if problem is None or self._repair([*accepted, members[index]]):
                half = len(each) // 2
                accepted = self._bisect(accepted, each[:half])
                return self._bisect(accepted, each[half:])
        self.reasons.update(dict.fromkeys(members, str(problem)))
        return accepted


def of_their_kinds(labels: Sequence[str], some: Collection[str]) -> list[str]:
    """Return the groups whose labels differ from those of some groups in the numbers of blocks alone."""
    kinds = {_kind(label) for label in some}
    return [label for label in labels if _kind(label) in kinds]


def _kinds(labels: Sequence[str]) -> list[list[str]]:
    """Cluster groups whose labels differ in the numbers of blocks alone."""
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(_kind(label), []).append(label)
    return list(found.values())


def _kind(label: str) -> str:
    """Return a label without the numbers of the blocks around its layer: ``layer#.#.conv1``."""
    parts = label.split('.')
    last = max((index for index, part in enumerate(parts) if not part.isdigit()), default=0)
    return '.'.join([*(re.sub(r'\d+', '#', part) for part in parts[:last]), *parts[last:]])
