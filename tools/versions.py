"""Try the oldest and newest supported torch, Lightning and Python: ``python tools/versions.py --help``.

Needs nothing but the standard library: it makes the virtual environments itself.
"""

from __future__ import annotations

import argparse
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    'tests/test_imports.py',
    'tests/analysis/test_propagate.py',
    'tests/slicing/test_recomputation.py',
    'tests/slim/test_files.py',
    'tests/supernet/test_lightning_module.py',
    'tests/supernet/test_plain_checkpoint.py',
    'tests/export/test_torchscript_file.py',
    'tests/strategy/test_short_trainings.py',
)
"""A small set that meets what differs between releases: tracing, checkpoints, training with Lightning, files."""
SHOWN = ('torch', 'torchvision', 'pytorch_lightning', 'numpy', 'matplotlib')


@dataclass(frozen=True)
class Cell:
    """One combination of versions."""

    name: str
    python: str
    oldest: tuple[str, ...] = ()
    """Packages at the lower bounds of setup.cfg; all others are the newest that fit."""
    constraints: bool = False
    """Whether constraints.txt decides."""


LOWER = ('torch', 'torchvision', 'pytorch_lightning', 'numpy', 'schema', 'matplotlib')
CELLS = (
    Cell('oldest', '3.10', LOWER),
    Cell('oldest-python', '3.10'),
    Cell('oldest-torch', '3.12', ('torch', 'torchvision')),
    Cell('oldest-lightning', '3.12', ('pytorch_lightning',)),
    Cell('known', '3.11', constraints=True),
    Cell('newest', '3.13'),
)

EPILOG = """\
cells:
{cells}

Lower bounds are read from setup.cfg. Each cell has a folder below --output: a virtual environment (6 GB with CUDA's
libraries), a copy of the checkout, a log for each step, and result.json. A step that has succeeded is not
repeated, so an interrupted or failed run continues when its command is started again; --again installs and tests a new
copy of the checkout in the same environment, and deleting the folder of a cell repeats all of it.

examples:
  python tools/versions.py --dry-run                       the commands of all cells
  python tools/versions.py oldest newest                   two cells
  python tools/versions.py oldest --tests tests/space      another set of tests
  python tools/versions.py newest --python 3.13=/opt/python3.13/bin/python3 --pip=--index-url=URL
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cells that were asked for, or print their commands; return the exit status."""
    options = parsed(arguments)
    rows = []
    for cell in options.cells:
        python = options.python.get(cell.python) or found(cell.python)
        if options.dry_run:
            print(f'# {cell.name}')
            for name, command in steps(cell, python or f'python{cell.python}', options):
                print(f'{command}    # {name}')
            continue
        row = {'cell': cell.name, 'python': cell.python}
        if python is None:
            row['outcome'] = f'skipped: no Python {cell.python} was found; give --python {cell.python}=PATH'
        else:
            row.update(run(cell, python, options))
        rows.append(row)
        print(f'{cell.name}: {row["outcome"]}', file=sys.stderr, flush=True)
    if rows:
        print(table(rows))
    return 0 if all(row['outcome'].startswith(('passed', 'skipped')) for row in rows) else 1


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, with cells as `Cell` and interpreters as a dictionary."""
    cells = {cell.name: cell for cell in CELLS}
    width = max(map(len, cells))
    parser = argparse.ArgumentParser(
        description='Install this checkout with the oldest and newest supported versions, and run some tests in each.',
        epilog=EPILOG.format(cells='\n'.join(f'  {name:{width}}  {described(cell)}' for name, cell in cells.items())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('cells', nargs='*', metavar='CELL', help='names of cells (default: all)')
    parser.add_argument(
        '--output', type=Path, default=Path('versions'), help='folder for all cells (default: versions)'
    )
    parser.add_argument('--tests', nargs='+', default=TESTS, help='what pytest runs (default: a small set, minutes)')
    parser.add_argument(
        '--python', action='append', default=[], metavar='X.Y=PATH', help='an interpreter; may be repeated'
    )
    parser.add_argument(
        '--pip', action='append', default=[], metavar='OPTION', help='an option for pip install: --pip=OPTION'
    )
    parser.add_argument('--again', action='store_true', help='install and test a new copy of the checkout')
    parser.add_argument('--dry-run', action='store_true', help='print the commands and do nothing')
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.cells if name not in cells]:
        parser.error(f'no cell is named {", ".join(unknown)}; there are {", ".join(cells)}')
    for pair in options.python:
        if not re.fullmatch(r'\d+\.\d+=.+', pair):
            parser.error(f'--python {pair}: must be X.Y=PATH, such as 3.10=/usr/bin/python3.10')
    options.python = dict(pair.split('=', 1) for pair in options.python)
    options.cells = [cells[name] for name in options.cells or cells]
    options.output = options.output.resolve()
    return options


def described(cell: Cell) -> str:
    """Return what a cell installs, in words."""
    packages = 'constraints.txt' if cell.constraints else ', '.join(pins(cell)) or 'the newest packages'
    return f'Python {cell.python}, {packages}'


def pins(cell: Cell, file: Path = ROOT / 'setup.cfg') -> list[str]:
    """Return pip requirements that hold the oldest packages of a cell at the lower bounds of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(file)
    bounds = dict(re.findall(r'^([\w-]+)>=([\d.]+)', config['options']['install_requires'], re.MULTILINE))
    return [f'{name}=={bounds[name]}.*' for name in cell.oldest]


def found(version: str) -> str | None:
    """Return an interpreter of a version such as '3.10', from PATH or pyenv, or None."""
    candidates = [shutil.which(f'python{version}'), sys.executable]
    candidates += sorted(map(str, Path.home().glob(f'.pyenv/versions/{version}.*/bin/python')), reverse=True)
    for path in filter(None, candidates):
        code = 'import sys; print("%d.%d" % sys.version_info[:2])'
        answer = subprocess.run([path, '-c', code], capture_output=True, text=True, check=False)
        if answer.stdout.strip() == version:
            return path
    return None


def steps(cell: Cell, python: str, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield (name, shell command) of everything a cell does, in order."""
    folder = options.output / cell.name
    venv, checkout = folder / 'venv', folder / 'checkout'
    quoted, inner = shlex.quote, shlex.quote(str(venv / 'bin' / 'python'))
    requirements = [*options.pip, '.[test]', *pins(cell), *(['-c', 'constraints.txt'] if cell.constraints else [])]
    yield 'venv', f'{quoted(python)} -m venv --clear {quoted(str(venv))}'
    yield (
        'copy',
        f'rm -rf {quoted(str(checkout))} && mkdir {quoted(str(checkout))} && cd {quoted(str(ROOT))} && '
        f'git ls-files -z --cached --others --exclude-standard | '
        f'tar --ignore-failed-read --null -T - -cf - | tar -C {quoted(str(checkout))} -xf -',
    )
    yield 'install', f'cd {quoted(str(checkout))} && {inner} -m pip install --quiet {shlex.join(requirements)}'
    yield 'check', f'{inner} -m pip check'
    yield 'tests', f'cd {quoted(str(checkout))} && {inner} -m pytest -q -n 0 {shlex.join(options.tests)}'


def run(
    cell: Cell, python: str, options: argparse.Namespace, shell: Callable[[str, Path], int] | None = None
) -> dict[str, str]:
    """Do what is left of a cell's steps; return its row of the table."""
    folder = options.output / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / 'result.json'
    record = json.loads(kept.read_text()) if kept.exists() else {}
    again = False
    for name, command in steps(cell, python, options):
        again |= options.again and name == 'copy'
        old = record.get(name, {})
        if old.get('command') == command and not again:
            continue
        again = True  # what comes after it no longer holds
        record.pop(name, None)
        begun = time.monotonic()
        log = folder / f'{name}.log'
        status = (shell or in_shell)(command, log)
        last = (log.read_text(errors='replace').strip().splitlines() or [''])[-1]
        if status:
            kept.write_text(json.dumps(record, indent=1))
            return {**versions(folder), 'outcome': f'{name} failed: {last}; see {log}'}
        record[name] = {'command': command, 'seconds': round(time.monotonic() - begun), 'last': last}
        kept.write_text(json.dumps(record, indent=1))
    seconds = record['tests']['seconds']
    return {**versions(folder), 'outcome': f'passed: {record["tests"]["last"].strip("= ")}', 'seconds': str(seconds)}


def in_shell(command: str, log: Path) -> int:
    """Run a command with its output in a file; return its status."""
    print(f'{command}    > {log}', file=sys.stderr, flush=True)
    with log.open('w') as file:
        return subprocess.run(
            ['bash', '-o', 'pipefail', '-c', command], stdout=file, stderr=file, check=False
        ).returncode


def versions(folder: Path) -> dict[str, str]:
    """Return what is installed in a cell, by package, and its Python."""
    python = folder / 'venv' / 'bin' / 'python'
    code = (
        'import json, platform, importlib.metadata as m\n'
        'have = {d.metadata["Name"].lower().replace("-", "_"): d.version for d in m.distributions()}\n'
        'print(json.dumps({**have, "python": platform.python_version()}))'
    )
    if not python.exists():
        return {}
    answer = subprocess.run([python, '-c', code], capture_output=True, text=True, check=False)
    have = json.loads(answer.stdout) if answer.returncode == 0 else {}
    return {name: have[name] for name in ('python', *SHOWN) if name in have}


def table(rows: Sequence[dict[str, str]]) -> str:
    """Return the rows as a Markdown table."""
    columns = ('cell', 'python', *SHOWN, 'seconds', 'outcome')
    cells = [columns, *([row.get(name, '-') for name in columns] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    lines = ['| ' + ' | '.join(text.ljust(width) for text, width in zip(row, widths)) + ' |' for row in cells]
    return '\n'.join([lines[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *lines[1:]])


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('\nInterrupted. The same command does the rest.', file=sys.stderr)
        sys.exit(130)
