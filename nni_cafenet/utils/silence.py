"""Suppress logs, warnings and output of torch, NNI and Lightning."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ['suppress_torch_output', 'suppress_training_logs']

_TRAINING = ('nni', 'pytorch_lightning', 'lightning_fabric', 'pytorch_lightning.utilities.rank_zero')


@contextlib.contextmanager
def suppress_training_logs() -> Iterator[None]:
    """Suppress logs of NNI and Lightning, and all warnings."""
    with _silenced(*_TRAINING):
        yield


@contextlib.contextmanager
def suppress_torch_output() -> Iterator[None]:
    """Suppress torch's output, logs and warnings."""
    with _silenced('torch'), io.StringIO() as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


@contextlib.contextmanager
def _silenced(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
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
