"""Scripts of benchmarks/ are not in the package: their folder is put where Python finds it."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))


@pytest.fixture(autouse=True)
def levels_of_logs():
    """Put the levels of loggers back, which scripts raise for their whole process."""
    loggers = [logging.getLogger(name) for name in ('pytorch_lightning', 'lightning_fabric', 'nni', 'nni_cafenet')]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before):
        logger.setLevel(level)
