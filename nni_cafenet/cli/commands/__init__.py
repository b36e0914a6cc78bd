"""The commands, one per file. Heavy packages are imported only when a command runs."""

from . import compare, export, inspect, prune, quickstart, recipes, report, search, sensitivity, train_slim
from .failures import status_of

__all__ = ['COMMANDS', 'status_of']

COMMANDS = (quickstart, inspect, sensitivity, prune, search, recipes, train_slim, compare, export, report)
