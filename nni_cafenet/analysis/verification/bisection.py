"""Bisect for the channel groups with which a model fails."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ['failing_groups']

_MOST_WITHOUT_RESULT = 4
"""Searches without a result, after which all groups that are left count as failing."""


def failing_groups(
    labels: list[str], failure: Callable[[list[str]], str | None], repair: Callable[[list[str]], bool]
) -> dict[str, str]:
    """Bisect for failing groups until the remaining ones pass together; return ``{label: reason}``.

    A ``repair`` that returns True has changed the model's graph so that it passes after the last ``failure``.
    """
    reasons: dict[str, str] = {}
    left, without_result = labels, 0
    while (problem := failure(left)) is not None and not repair(left):
        found: dict[str, str] = {}
        _bisect([], left, found, failure, repair)
        without_result += not found
        reasons.update(found if without_result < _MOST_WITHOUT_RESULT else dict.fromkeys(left, problem))
        left = [label for label in left if label not in reasons]
    return reasons


def _bisect(
    accepted: list[str],
    candidates: list[str],
    reasons: dict[str, str],
    failure: Callable[[list[str]], str | None],
    repair: Callable[[list[str]], bool],
) -> list[str]:
    """Add the failing ones of the candidates to the reasons; return the accepted groups."""
    problem = failure([*accepted, *candidates]) if candidates else None
    if problem is None:
        return [*accepted, *candidates]
    if len(candidates) == 1:
        if repair([*accepted, *candidates]):
            return [*accepted, *candidates]
        reasons[candidates[0]] = problem
        return accepted
    half = len(candidates) // 2
    accepted = _bisect(accepted, candidates[:half], reasons, failure, repair)
    return _bisect(accepted, candidates[half:], reasons, failure, repair)
