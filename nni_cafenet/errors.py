"""The package's exceptions. Messages name the argument, its value and the remedy."""

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
    'OutputsError',
    'RankLostError',
    'RanksError',
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
"""Terminal escape sequences, such as bold text in torch's messages."""


def first_line(error: BaseException, most: int = 300, otherwise: str = 'no message') -> str:
    """Return the first line of an error's message, truncated to ``most`` characters; ``otherwise`` if it is empty."""
    text = _ESCAPES.sub('', str(error)).strip()
    return truncated((text.splitlines() or [otherwise])[0], most)


def truncated(text: str, most: int = 80) -> str:
    """Truncate text to ``most`` characters, ending in an ellipsis."""
    return text if len(text) <= most else f'{text[: most - 3]}...'


class CafeNetError(Exception):
    """Base of the package's own exceptions."""


class TraceError(CafeNetError, ValueError):
    """A model cannot be analyzed, or does not accept its example input."""


class OutputsError(TraceError):
    """The outputs that count are not among those of the model. The message lists them."""


class TrainingDivergedError(CafeNetError, RuntimeError):
    """The loss was not finite for any channel set of a training step."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or ``nnictl stop`` interrupted a run. The message says how to resume it."""


class FirstBatchError(CafeNetError, ValueError):
    """A step, hook or sample failed in the first training batch, or a loader is empty."""


class ResumeError(CafeNetError, ValueError):
    """A folder holds the state of another run."""


class DamagedFileError(ResumeError):
    """A file is corrupt, truncated, edited, or of another version. The message names the remedy."""


class UntrustedFileError(ResumeError):
    """Loading the file would run code, and it is not signed with the user's key."""


class SigningKeyError(CafeNetError, RuntimeError):
    """The user's key cannot be created or read, or other users can read it."""


class ConsentError(CafeNetError, ValueError):
    """A file names code that the command does not allow; the message lists all of it."""


class FolderError(CafeNetError, OSError):
    """The folder of a run cannot be written to."""


class FolderInUseError(CafeNetError, RuntimeError):
    """Another process is using the run folder."""


class TrialFailedError(CafeNetError, RuntimeError):
    """A trial that the run depends on failed twice. The message contains the end of its log."""


class ExperimentEndedError(CafeNetError, RuntimeError):
    """NNI's experiment ended before its run did. The message says how to resume."""


class UnprotectedManagerError(CafeNetError, RuntimeError):
    """NNI's manager was not started because its web server could not be protected. The message says why."""


class LimitReachedError(CafeNetError, RuntimeError):
    """The experiment's limits (number of trials, duration) allow no further trials."""


class RanksError(CafeNetError, RuntimeError):
    """One of several processes of a run failed, or differs from the others. The message names its rank."""


class RankLostError(RanksError):
    """Another process of a run has ended, or no longer answers."""


class SerializationError(CafeNetError, TypeError):
    """An object cannot be sent to trial processes."""


class ModelSpecError(CafeNetError, ValueError):
    """A model specification names no model, or building the model failed."""


class DataError(CafeNetError, ValueError):
    """A data specification is invalid, or its data are missing, unreadable or do not fit the model."""


class WeightsError(CafeNetError, ValueError):
    """A weights file is unreadable or belongs to another model. The message lists the keys."""


class ConfigurationError(CafeNetError, ValueError):
    """Options of the command line or a configuration file are invalid. The message lists all of them."""


class ExportError(CafeNetError, RuntimeError):
    """A model could not be exported, or the exported file computes something else."""


class MissingExtraError(CafeNetError, ImportError):
    """An optional package is not installed. The message says how to install it."""
