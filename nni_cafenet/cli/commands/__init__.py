"""The commands, one per file. Heavy packages are imported only when a command runs."""

from . import export, inspect, prune, quickstart, report, search, train_slim
from .failures import status_of

__all__ = ['COMMANDS', 'status_of']

COMMANDS = (quickstart, inspect, prune, search, train_slim, export, report)
