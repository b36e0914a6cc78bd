"""The rooms of the package: data flows one way, and rooms are entered through their doors alone."""

from __future__ import annotations

import ast
import functools
import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import nni_cafenet

ROOT = Path(nni_cafenet.__file__).parent
ROOMS = runpy.run_path(str(Path(__file__).parents[1] / 'tools' / 'rooms.py'))['ORDER']
"""From the ground up: a room knows only rooms before it."""

MODULES = {
    '.'.join(path.relative_to(ROOT.parent).with_suffix('').parts).removesuffix('.__init__'): path
    for path in ROOT.rglob('*.py')
}


@functools.cache
def imports_of(module: str) -> list[tuple[str, str, int]]:
    """Return what a module takes from this package: another module, a name in it, and the line; inside functions too."""
    package = module if MODULES[module].name == '__init__.py' else module.rpartition('.')[0]
    found = []
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            parts = package.split('.')[: len(package.split('.')) - node.level + 1] if node.level else []
            source = '.'.join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                if source.partition('.')[0] == 'nni_cafenet':
                    whole = f'{source}.{alias.name}'
                    found.append(((whole if whole in MODULES else source), alias.name, node.lineno))
        elif isinstance(node, ast.Import):
            found += [
                (alias.name, '', node.lineno) for alias in node.names if alias.name.partition('.')[0] == 'nni_cafenet'
            ]
    return found


def room_of(module: str) -> str:
    return module.split('.')[1] if '.' in module else ''


def test_every_room_has_its_place():
    rooms = {room_of(module) for module in MODULES} - {'', '__main__', '_doors', '_version', 'nnictl'}
    assert rooms == set(ROOMS)


def test_a_room_knows_only_rooms_below_it():
    wrong = [
        f'{module}:{line} takes {name} from {source}'
        for module in MODULES
        for source, name, line in imports_of(module)
        if room_of(module) in ROOMS and room_of(source) in ROOMS
        if ROOMS.index(room_of(source)) > ROOMS.index(room_of(module))
    ]
    assert not wrong, '\n'.join(wrong)


def test_rooms_are_entered_through_their_doors():
    doors = [module for module, path in MODULES.items() if path.name == '__init__.py' and '.' in module]
    wrong = [
        f'{module}:{line} takes {name} from {source}'
        for module in MODULES
        for source, name, line in imports_of(module)
        if any(
            f'{source}.'.startswith(f'{door}.') and source != door and not f'{module}.'.startswith(f'{door}.')
            for door in doors
        )
    ]
    assert not wrong, '\n'.join(wrong)


def test_no_two_files_know_each_other():
    known = {module: {source for source, _, _ in imports_of(module)} for module in MODULES}
    done: dict[str, int] = {}  # 1: being walked, 2: free of circles

    def walk(module: str, path: tuple[str, ...]) -> None:
        if done.get(module) == 2:
            return
        assert done.get(module) != 1, ' -> '.join([*path[path.index(module) :], module])
        done[module] = 1
        for source in sorted(known[module] - {module}):
            walk(source, (*path, module))
        done[module] = 2

    for module in MODULES:
        walk(module, ())


def test_doors_export_what_they_say():
    for module, path in MODULES.items():
        if path.name == '__init__.py' and '.' in module:
            door = importlib.import_module(module)
            assert door.__all__, f'{module} exports nothing'
            assert len(set(door.__all__)) == len(door.__all__)
            assert all(hasattr(door, name) for name in door.__all__)
            files = {file.stem for file in path.parent.glob('*.py')}
            assert not files & set(door.__all__), f'{module} exports names of its files'


@pytest.mark.parametrize('module', ['nni_cafenet', 'nni_cafenet.cli', 'nni_cafenet.options', 'nni_cafenet.utils'])
def test_the_command_line_starts_without_torch(module):
    code = f'import sys, {module}; assert not {{"torch", "nni", "numpy"}} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_what_loads_slim_models_needs_nothing_of_the_package():
    own = 'nni_cafenet.slim.files'
    files = [module for module in MODULES if module == own or module.startswith(f'{own}.')]
    assert len(files) > 1
    assert not [source for module in files for source, _, _ in imports_of(module) if not source.startswith(f'{own}.')]


def test_the_fast_step_has_one_door():
    fast = 'nni_cafenet.slicing.fast_step'
    users = {
        module
        for module in MODULES
        for source, _, _ in imports_of(module)
        if source.startswith(fast) and fast not in module
    }
    assert users == {'nni_cafenet.slicing.active_model'}
