"""What can go wrong, as exceptions that name the argument, the value and the remedy."""

from __future__ import annotations

import re

__all__ = [
    'CafeNetError',
    'ConfigurationError',
    'ConsentError',
    'DamagedFileError',
    'DataError',
    'ExperimentEndedError',
    'ExportError',
    'FirstBatchError',
    'FolderError',
    'FolderInUseError',
    'LimitReachedError',
    'MissingExtraError',
    'ModelSpecError',
    'ResumeError',
    'RunInterrupted',
    'SerializationError',
    'SigningKeyError',
    'TraceError',
    'TrainingDivergedError',
    'TrialFailedError',
    'UnprotectedManagerError',
    'UntrustedFileError',
    'WeightsError',
    'first_line',
    'truncated',
]


_ESCAPES = re.compile(r'\x1b(\[[0-9;?]*[ -/]*[@-~]|[@-_])')
"""Escape sequences of terminals, such as those of bold text in torch's messages."""


def first_line(error: BaseException, most: int = 300, otherwise: str = 'no message') -> str:
    """Return the first line of an error's message, at most so many characters of it; ``otherwise`` if it has none."""
    text = _ESCAPES.sub('', str(error)).strip()
    return truncated((text.splitlines() or [otherwise])[0], most)


def truncated(text: str, most: int = 80) -> str:
    """Return a text, cut short if it has more than so many characters."""
    return text if len(text) <= most else f'{text[: most - 3]}...'


class CafeNetError(Exception):
    """Base of the package's own exceptions."""


class TraceError(CafeNetError, ValueError):
    """A model cannot be analyzed, or does not accept its example input."""


class TrainingDivergedError(CafeNetError, RuntimeError):
    """Every channel set of a training step gave a loss that is not a number."""


class RunInterrupted(KeyboardInterrupt):
    """A run was stopped before its end: by Ctrl-C, SIGTERM or ``nnictl stop``. The message says how to continue."""


class FirstBatchError(CafeNetError, ValueError):
    """A step, a hook or a sample fails in the first batch of a training, or a loader gives no batch."""


class ResumeError(CafeNetError, ValueError):
    """A folder holds the state of another run."""


class DamagedFileError(ResumeError):
    """A file is not what was written: damaged, cut short, edited, or of another version; the message says what to do."""


class UntrustedFileError(ResumeError):
    """Loading a file would run code, and the user's key did not sign it."""


class SigningKeyError(CafeNetError, RuntimeError):
    """The user's key cannot be made or read, or other users can read it."""


class ConsentError(CafeNetError, ValueError):
    """A file asks for code that the command does not name; the message lists all of it."""


class FolderError(CafeNetError, OSError):
    """The folder of a run cannot be written to."""


class FolderInUseError(CafeNetError, RuntimeError):
    """Another process does the run in a folder."""


class TrialFailedError(CafeNetError, RuntimeError):
    """A trial without which the run cannot go on has failed twice; the message has the end of its log."""


class ExperimentEndedError(CafeNetError, RuntimeError):
    """NNI's experiment has ended before its run; the message says how to go on."""


class UnprotectedManagerError(CafeNetError, RuntimeError):
    """NNI's manager was not started, because its web server could not be protected; the message says why."""


class LimitReachedError(CafeNetError, RuntimeError):
    """The experiment's own limits (number of trials, duration) let no further trials start."""


class SerializationError(CafeNetError, TypeError):
    """Something cannot be sent to trial processes."""


class ModelSpecError(CafeNetError, ValueError):
    """The words that name a model name none, or making it fails."""


class DataError(CafeNetError, ValueError):
    """The words that name data name none, or the data are missing, unreadable, or do not fit the model."""


class WeightsError(CafeNetError, ValueError):
    """A file of weights cannot be read, or is of another model; the message lists the keys."""


class ConfigurationError(CafeNetError, ValueError):
    """Options of the command line or of a configuration file are wrong; the message lists all of them."""


class ExportError(CafeNetError, RuntimeError):
    """A model could not be written in a format, or what was written computes something else."""


class MissingExtraError(CafeNetError, ImportError):
    """A package that is not installed is needed; the message says how to install it."""
