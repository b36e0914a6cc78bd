"""Names of objects in code, on the command line: ``package.module:name`` and ``path/to/file.py:name``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import CafeNetError

__all__ = ['CodeName', 'some_of', 'taken_arguments']

_DOTTED = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)*')


@dataclass(frozen=True)
class CodeName:
    """The name of an object in code, ``'package.module:name'`` or ``'path/to/file.py:name'``, with dots in ``name`` too.

    The working directory is importable, and stays so; so is the folder of a file. ``kind`` is for messages
    (``'model'``), ``error`` the class of errors.
    """

    spec: str
    kind: str
    error: type[CafeNetError]

    @property
    def is_one(self) -> bool:
        """Whether the spec has the form of a name in code; the object need not exist."""
        place, colon, name = self.spec.rpartition(':')
        if colon and place.endswith('.py'):
            return True
        # C:\model.pt is a file
        return bool(colon and is_dotted(place) and not Path(self.spec).exists() and name[:1] not in ('/', '\\'))

    def find(self) -> Any:
        """Import the code and return the named object; the error says what is missing."""
        place, _, name = self.spec.rpartition(':')
        module = self._run_file(Path(place)) if place.endswith('.py') else self._import(place)
        return self._found(module, name)

    def wrong(self, what: str, remedy: str) -> CafeNetError:
        """Return an error with the problem and the remedy."""
        return self.error(f'{self.kind} {self.spec!r}: {what}; {remedy}')

    def no_file(self, path: Path) -> CafeNetError:
        """Return the error for a missing file."""
        return self.wrong(f'there is no file {path}', f'check the path; it counts from {Path.cwd()}')

    def failed(self, doing: str, error: BaseException) -> CafeNetError:
        """Return the error for an exception in the user's code, with its location."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith('<')]
        where = f' ({frames[-1].filename}, line {frames[-1].lineno})' if frames else ''
        if isinstance(error, SyntaxError) and error.filename:
            where = f' ({error.filename}, line {error.lineno})'
        remedy = ''
        if isinstance(error, ImportError) and 'relative import' in str(error):
            remedy = "; a file with relative imports belongs to a package: write 'package.module:factory'"
        text = str(error) or 'no message'
        return self.error(f'{self.kind} {self.spec!r}: {doing} raised {type(error).__name__}: {text}{where}{remedy}')

    def _import(self, name: str) -> ModuleType:
        make_importable(Path.cwd())
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f'{name}.'.startswith(f'{error.name}.'):
                raise self.wrong(
                    f'there is no module {error.name!r}',
                    f'install it, or run the command in the folder that contains it (now {Path.cwd()})',
                ) from error
            raise self.failed(f'importing {name}', error) from error
        except (Exception, SystemExit) as error:
            raise self.failed(f'importing {name}', error) from error

    def _run_file(self, path: Path) -> ModuleType:
        if not path.is_file():
            raise self.no_file(path)
        make_importable(Path.cwd())
        make_importable(path.resolve().parent)
        name = path.stem
        if name in sys.modules and not _is_of(sys.modules[name], path):
            name = f'{name}_of_the_{self.kind}'
        description = importlib.util.spec_from_file_location(name, path)
        if description is None or description.loader is None:
            raise self.wrong(f'{path} cannot be imported', 'name a file of Python code')
        module = importlib.util.module_from_spec(description)
        sys.modules[name] = module
        try:
            description.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise self.failed(f'running {path}', error) from error
        return module

    def _found(self, module: ModuleType, name: str) -> Any:
        if not name:
            raise self.wrong('names no object in it', f'write a name after the colon: {some_of(_callables(module))}')
        found: Any = module
        for part in name.split('.'):
            if not hasattr(found, part):
                near = difflib.get_close_matches(part, dir(found), n=3)
                remedy = f'did you mean {some_of(near)}?' if near else f'it has {some_of(_callables(found))}'
                holder = found.__name__ if found is module else f'{module.__name__}:{name.rpartition(f".{part}")[0]}'
                raise self.wrong(f'{holder} has no {part!r}', remedy)
            found = getattr(found, part)
        return found


def is_dotted(text: str) -> bool:
    """Whether a text could be the name of a module."""
    return _DOTTED.fullmatch(text) is not None


def make_importable(folder: Path) -> None:
    """Put a folder first in the path, permanently: a forward may import more."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def some_of(names: Iterable[str], most: int = 6) -> str:
    """Return the first names of several, for a message."""
    names = list(names)
    shown = ', '.join(repr(name) for name in names[:most])
    return (f'{shown} and {len(names) - most} more' if len(names) > most else shown) or 'nothing callable'


def required_arguments(function: Any) -> list[str]:
    """Return the names of the required arguments of a callable."""
    return [
        p.name
        for p in _parameters(function)
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def taken_arguments(function: Any) -> tuple[set[str], bool]:
    """Return the names of the keyword arguments of a callable, and whether it takes any others."""
    parameters = _parameters(function)
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables written in C have no signature
        return []


def _is_of(module: ModuleType, path: Path) -> bool:
    home = getattr(module, '__file__', None)
    return home is not None and Path(home).resolve() == path.resolve()


def _callables(module: Any) -> list[str]:
    """The callables that a module defines itself."""
    own = getattr(module, '__name__', None)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith('_') and callable(value) and getattr(value, '__module__', None) == own
    ]
