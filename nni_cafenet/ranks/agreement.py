"""What the processes of a run tell each other: values of the first one, errors of any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from torch import distributed

from ..errors import RanksError, first_line

__all__ = ['from_first', 'gathered', 'is_first', 'on_all', 'rank_and_ranks']

_T = TypeVar('_T')

_PATIENCE = timedelta(hours=1)
"""How long processes wait for one that works alone, such as a final validation. One that ends is noticed at once."""

_groups: dict[Any, Any] = {}
"""Groups for plain objects, by the group of all processes. By gloo: NCCL waits for GPUs, and notices no lost process."""


def rank_and_ranks() -> tuple[int, int]:
    """Return the number of this process, counted from 0, and how many there are; ``(0, 1)`` without others."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_first() -> bool:
    """Whether this process writes files and shows progress."""
    return rank_and_ranks()[0] == 0


def gathered(value: _T) -> list[_T]:
    """Return the value of every process, in order of ranks. All processes must call it."""
    _, ranks = rank_and_ranks()
    if ranks == 1:
        return [value]
    found: list[Any] = [None] * ranks
    distributed.all_gather_object(found, value, group=_group())
    return found


def from_first(make: Callable[[], _T]) -> _T:
    """Return what ``make`` returns in the first process, in every process; its error is raised in all of them."""
    rank, ranks = rank_and_ranks()
    if ranks == 1:
        return make()
    sent: list[Any] = [None, None]
    failure: Exception | None = None
    if rank == 0:
        try:
            sent = [make(), None]
        except Exception as error:  # noqa: BLE001  the others wait for an answer
            failure, sent = error, [None, _text(error)]
    distributed.broadcast_object_list(sent, 0, group=_group())
    if failure is not None:
        raise failure
    if sent[1] is not None:
        raise RanksError(f'rank 0: {sent[1]}')
    return sent[0]  # type: ignore[no-any-return]


def on_all(do: Callable[[], _T]) -> _T:
    """Do something in every process, each for itself; an error in any of them is raised in all, with its rank.

    An error in the first process is raised there as it is.
    """
    rank, ranks = rank_and_ranks()
    if ranks == 1:
        return do()
    result: Any = None
    failure: Exception | None = None
    try:
        result = do()
    except Exception as error:  # noqa: BLE001  the others wait for an answer
        failure = error
    failures = gathered(None if failure is None else _text(failure))
    if not any(failures):
        return result  # type: ignore[no-any-return]
    if failure is not None and rank == 0:
        raise failure
    failed = next(number for number, text in enumerate(failures) if text)
    raise RanksError(f'rank {failed} of {ranks}: {failures[failed]}') from failure


def _group() -> Any:
    everyone = distributed.group.WORLD
    if everyone not in _groups:
        _groups.clear()
        _groups[everyone] = distributed.new_group(backend='gloo', timeout=_PATIENCE)
    return _groups[everyone]


def _text(error: Exception) -> str:
    return str(error).strip() or first_line(error, otherwise=type(error).__name__)
