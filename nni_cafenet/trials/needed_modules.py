"""Whether a fresh process, such as a trial, finds the modules that objects need."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ['missing_modules']


def missing_modules(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield modules of the user that a fresh process in this folder does not find, or finds elsewhere, with the reason."""
    own = {name: file for name in names for file in [_own_file(name)] if file is not None}
    found = _found_by_trials(tuple(own), os.getcwd(), os.environ.get('PYTHONPATH')) if own else {}
    for name, file in own.items():
        there = found.get(name)
        if there is None or Path(there).resolve() != Path(file).resolve():
            where = 'but do not find it' if there is None else f'but find {there} instead'
            yield (
                name,
                f'trials need the module {name} ({file}) {where}. They start in {os.getcwd()}: start the experiment in the '
                'folder of the module, or add that folder to PYTHONPATH.',
            )


def _own_file(name: str) -> str | None:
    """Return the file of a module; None for Python's own and installed packages."""
    file = getattr(sys.modules.get(name), '__file__', None)
    paths = sysconfig.get_paths()
    installed = [Path(paths[key]) for key in ('stdlib', 'platstdlib', 'purelib', 'platlib')]
    if name == '__main__' or file is None or any(folder in Path(file).parents for folder in installed):
        return None
    return str(file)


_FIND = """
import importlib.util, json, sys
from importlib.machinery import PathFinder

def find(name):  # without running any of the user's code
    first, *rest = name.split('.')
    spec = importlib.util.find_spec(first)
    for part in rest:
        first = f'{first}.{part}'
        if spec is None or spec.submodule_search_locations is None:
            return None
        # Not run, only there: packages without __init__.py look their parents up.
        sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
        spec = PathFinder.find_spec(first, spec.submodule_search_locations)
    return None if spec is None else spec.origin

print(json.dumps({name: find(name) for name in sys.argv[1:]}))
"""


@functools.lru_cache(maxsize=8)
def _found_by_trials(names: tuple[str, ...], folder: str, path: str | None) -> dict[str, str | None]:
    """Return the files of modules as found by a fresh process in a folder."""
    done = subprocess.run(
        [sys.executable, '-c', _FIND, *names], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f'Cannot start a Python process in {folder}:\n{done.stderr}')
    found: dict[str, str | None] = json.loads(done.stdout)
    return found
