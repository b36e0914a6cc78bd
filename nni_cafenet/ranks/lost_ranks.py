"""An error that says that another process of the run has ended, instead of what its network connection reports."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ..errors import RankLostError, first_line
from .agreement import rank_and_ranks

__all__ = ['named_lost_ranks']

_KINDS = ('DistBackendError', 'DistNetworkError', 'DistStoreError', 'DistError')
_WORDS = re.compile(r'gloo|nccl|connection (closed|reset)|broken pipe|socket|process group', re.IGNORECASE)


@contextlib.contextmanager
def named_lost_ranks() -> Iterator[None]:
    """Raise `RankLostError` from the errors of torch's collectives inside a block."""
    try:
        yield
    except RuntimeError as error:
        rank, ranks = rank_and_ranks()
        if ranks == 1 or not _is_lost(error):
            raise
        raise RankLostError(
            f'rank {rank} of {ranks} stops, since another process of the run has ended or no longer answers '
            f'({first_line(error, 120)}). The message of that process, above or in its log, says why. Run the same command '
            'again to resume.'
        ) from error


def _is_lost(error: RuntimeError) -> bool:
    if type(error).__name__ in _KINDS:
        return True
    return type(error) is RuntimeError and bool(_WORDS.search(str(error)))
