"""What can go wrong, as exceptions that name the argument, the value and the remedy."""

from __future__ import annotations

__all__ = ['CafeNetError', 'ResumeError', 'TraceError', 'TrainingDivergedError']


class CafeNetError(Exception):
    """Base of the package's own exceptions."""


class TraceError(CafeNetError, ValueError):
    """A model cannot be analysed, or does not accept its example input."""


class TrainingDivergedError(CafeNetError, RuntimeError):
    """Every channel set of a training step gave a loss that is not a number."""


class ResumeError(CafeNetError, ValueError):
    """A folder holds the state of another run."""
