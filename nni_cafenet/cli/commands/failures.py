"""Error messages and exit status of a failed command."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

from ...errors import (
    CafeNetError,
    ExperimentEndedError,
    LimitReachedError,
    RankLostError,
    RanksError,
    TrainingDivergedError,
    TrialFailedError,
    first_line,
)
from ...ranks import Launched

__all__ = ['status_of']

_FAILED, _BAD_INPUT = 1, 2
_FAILURES = (TrainingDivergedError, TrialFailedError, ExperimentEndedError, LimitReachedError, RankLostError)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SHOW_ALL = 'NNI_CAFENET_TRACEBACK'
_HOME = str(Path(__file__).parents[2])


def status_of(error: Exception) -> int:
    """Print an error and return the exit status: 2 for bad arguments or input, 1 for other failures."""
    if isinstance(error, RanksError) and not isinstance(error, RankLostError) and not Launched.here().is_first:
        return _BAD_INPUT  # the first process tells it
    if os.environ.get(_SHOW_ALL):
        traceback.print_exception(type(error), error, error.__traceback__)
    root = _with_errno(error)
    if root is not None and root.errno in _NO_ROOM:
        name = f' {root.filename}' if root.filename else ''
        _tell(f'writing{name} failed: {root.strerror}; free some space, then run the same command again: it resumes')
        return _FAILED
    if isinstance(error, _FAILURES):
        _tell(str(error))
        return _FAILED
    if isinstance(error, (CafeNetError, OSError)) or _is_ours(error):
        _tell(str(error))
        return _BAD_INPUT
    if type(error).__name__ == 'OutOfMemoryError' or isinstance(error, MemoryError):
        _tell(f'out of memory ({first_line(error, 120)}); give a smaller --batch-size, or --precision 16-mixed')
        return _FAILED
    place = traceback.extract_tb(error.__traceback__)[-1]
    _tell(
        f'failed: {type(error).__name__}: {first_line(error)} ({place.filename}, line {place.lineno}); '
        f'for the whole traceback: {_SHOW_ALL}=1'
    )
    return _FAILED


def _is_ours(error: BaseException) -> bool:
    """Whether this package raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, (ValueError, TypeError)) and bool(frames) and frames[-1].filename.startswith(_HOME)


def _with_errno(error: BaseException | None) -> OSError | None:
    """Return the OSError behind an error; torch.save wraps it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _tell(text: str) -> None:
    launched = Launched.here()
    rank = '' if launched.is_first else f'rank {launched.rank}: '
    print(f'nni-cafenet: {rank}{text}', file=sys.stderr, flush=True)
