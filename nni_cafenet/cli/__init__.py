"""The command line, ``nni-cafenet``. Heavy packages are imported only once a command runs."""

from .command_line import main

__all__ = ['main']
