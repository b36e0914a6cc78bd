"""Doors that open lazily: a name is imported when it is first used."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ['lazy_names']


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names are loaded on first use.

    The names are those that the package imports under ``if TYPE_CHECKING:``, so that they are written once, for people,
    type checkers and Python.

    Parameters
    ----------
    package
        The package's ``__name__``.
    file
        Its ``__file__``.
    """
    homes: dict[str, str] = {}
    for block in ast.parse(Path(file).read_text(encoding='utf-8')).body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == 'TYPE_CHECKING':
            for line in block.body:
                if isinstance(line, ast.ImportFrom):
                    homes.update({alias.asname or alias.name: f'{package}.{line.module}' for alias in line.names})

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(homes[name]), name)

    return load, lambda: sorted(homes), sorted(homes)
