"""Scores of widths, shared out over the processes of a distributed training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..ranks import gathered, rank_and_ranks
from ..search import Scored

__all__ = ['scores_over_ranks']


def scores_over_ranks(
    score: Callable[[Mapping[str, int]], Scored], batch: Sequence[Mapping[str, int]]
) -> Iterator[Scored]:
    """Score a batch of widths; yield results in order, on every rank.

    Each rank scores every n-th width. A score depends on its widths alone, so one process finds the same. All ranks must
    ask for the same batch. An error on one rank is raised on all.
    """
    rank, ranks = rank_and_ranks()
    if ranks == 1:
        yield from map(score, batch)
        return
    for start in range(0, len(batch), ranks):
        mine = batch[start + rank : start + rank + 1]
        found = gathered([_attempt(score, widths) for widths in mine])
        for scored in (each for one in found for each in one):
            if isinstance(scored, BaseException):
                raise scored
            yield scored


def _attempt(score: Callable[[Mapping[str, int]], Scored], widths: Mapping[str, int]) -> Scored | Exception:
    """Score widths; an error is returned, since the other ranks wait for an answer."""
    try:
        return score(widths)
    except Exception as error:  # noqa: BLE001  it is raised on every rank
        return error
