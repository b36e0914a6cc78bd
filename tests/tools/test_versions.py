from __future__ import annotations

import re
from pathlib import Path

import pytest

import versions

SETUP = (versions.ROOT / 'setup.cfg').read_text()


def test_the_oldest_versions_are_the_lower_bounds_of_the_package():
    for pin in versions.pins(versions.CELLS[0]):
        name, _, version = pin.removesuffix('.*').partition('==')
        assert f'\n    {name}>={version}' in SETUP


def test_cells_have_the_oldest_and_the_newest_supported_python():
    supported = re.findall(r'Python :: (3\.\d+)\n', SETUP)
    assert f'python_requires = >={supported[0]}' in SETUP
    pythons = {cell.python for cell in versions.CELLS}
    assert {supported[0], supported[-1]} <= pythons <= set(supported)


def test_what_it_tests_exists():
    assert all((versions.ROOT / path).exists() for path in versions.TESTS)


def test_the_workflow_runs_every_cell_with_its_python():
    workflow = (versions.ROOT / '.github/workflows/ci.yml').read_text()
    cells = re.findall(r"\{cell: ([\w-]+), python: '([\d.]+)'\}", workflow)
    assert cells == [(cell.name, cell.python) for cell in versions.CELLS]


def test_a_dry_run_prints_the_commands_and_does_nothing(tmp_path: Path, capsys):
    arguments = ['oldest', 'known', '--dry-run', '--output', str(tmp_path / 'v'), '--python', '3.10=/my/python']
    assert versions.main([*arguments, '--pip=--no-deps', '--tests', 'tests/a b.py']) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('# oldest\n/my/python -m venv')
    assert printed.count('# known') == 1
    assert 'torch==2.6.*' in printed
    assert "install --quiet --no-deps '.[test]'" in printed
    assert '-c constraints.txt' in printed
    assert "pytest -q -n 0 'tests/a b.py'" in printed
    assert not (tmp_path / 'v').exists()


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [(['newst'], 'newst; there are oldest'), (['--python', '3.10'], '--python 3.10: must be X.Y=PATH')],
)
def test_bad_arguments_are_told_with_what_is_allowed(arguments: list[str], named: str, capsys):
    with pytest.raises(SystemExit):
        versions.main(arguments)
    assert named in capsys.readouterr().err


def test_what_has_succeeded_is_not_repeated(tmp_path: Path):
    options = versions.parsed(['newest', '--output', str(tmp_path)])
    (cell,) = options.cells
    done: list[str] = []
    failing = {'install'}

    def shell(command: str, log: Path) -> int:
        done.append(log.stem)
        log.write_text('3 passed in 1s\n' if log.stem == 'tests' else 'no space left\n')
        return int(log.stem in failing)

    row = versions.run(cell, 'python', options, shell)
    assert row['outcome'].startswith('install failed: no space left')
    assert done == ['venv', 'copy', 'install']

    failing.clear()
    assert versions.run(cell, 'python', options, shell)['outcome'] == 'passed: 3 passed in 1s'
    assert done[3:] == ['install', 'check', 'tests']

    assert versions.run(cell, 'python', options, shell)['outcome'] == 'passed: 3 passed in 1s'
    assert len(done) == 6

    options.again = True
    versions.run(cell, 'python', options, shell)
    assert done[6:] == ['copy', 'install', 'check', 'tests']


def test_a_python_that_is_not_there_is_skipped_with_what_to_give(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(versions, 'found', lambda version: None)
    assert versions.main(['newest', '--output', str(tmp_path)]) == 0
    assert 'give --python 3.13=PATH' in capsys.readouterr().out
