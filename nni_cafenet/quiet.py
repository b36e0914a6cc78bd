"""What torch prints and logs of its own accord is kept back."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ['quiet']


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch prints, logs and warns of to itself: what matters comes as an exception."""
    torch_logs = logging.getLogger('torch')
    level = torch_logs.level
    try:
        torch_logs.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), io.StringIO() as sink:
            warnings.simplefilter('ignore')
            with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                yield
    finally:
        torch_logs.setLevel(level)
