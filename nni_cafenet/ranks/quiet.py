"""Progress is shown by the first process of a run alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from .agreement import is_first

__all__ = ['quiet_unless_first']


@contextlib.contextmanager
def quiet_unless_first() -> Iterator[None]:
    """Log errors only, inside a block, in every process but the first."""
    logger = logging.getLogger('nni_cafenet')
    before = logger.level
    if not is_first():
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
