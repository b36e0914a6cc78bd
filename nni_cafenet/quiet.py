"""No chatter of NNI and Lightning between progress bars."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

__all__ = ['quiet']

_LOGGERS = ('nni', 'pytorch_lightning', 'lightning_fabric', 'pytorch_lightning.utilities.rank_zero')


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let NNI and Lightning log nothing in a block, and nobody warn. Errors are raised, not logged."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
