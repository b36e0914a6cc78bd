"""The files that load slim models, as one."""

from __future__ import annotations

import ast
from pathlib import Path

from nni_cafenet.slim import files, joined_loader


def test_it_has_every_definition_once_and_takes_nothing_from_a_package_file():
    tree = ast.parse(joined_loader())
    names = [each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.ClassDef))]
    parts = [path.read_text() for path in Path(next(iter(files.__path__))).glob('*.py')]
    defined = [each.name for part in parts for each in ast.parse(part).body if isinstance(each, ast.FunctionDef)]
    assert sorted(names) == sorted(defined)
    assert len(set(names)) == len(names)
    assert not [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and each.level]


def test_it_is_python_with_one_public_name():
    found = {}
    exec(compile(joined_loader(), 'load_slim.py', 'exec'), found)
    assert found['__all__'] == ['load_slim']
    assert found['load_slim'].__doc__ == files.load_slim.__doc__
