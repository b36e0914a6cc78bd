"""What each room and file of the package is for: ``python tools/rooms.py`` writes docs/rooms.md from the docstrings.

``--check`` writes nothing, and exits with status 1 where the page is not that of the code.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'nni_cafenet'
PAGE = ROOT / 'docs' / 'rooms.md'
ORDER = (
    'errors utils options ranks fingerprints nni_compat graph export slicing analysis slim space channel_importance '
    'supernet latency search stages report trials strategy pruning testing cli'
).split()
"""From the ground up: a room, or a file that stands alone, knows only those before it."""

ROOMS = [name for name in ORDER if (PACKAGE / name).is_dir()]


def idea_of(path: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return ' '.join(text.split('\n\n')[0].split()).replace('|', r'\|')


def exports_of(room: Path) -> list[str]:
    """Return the names that a room's door exports, whether it is eager or lazy."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((room / '__init__.py').read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is not None:
            names.update(alias.asname or alias.name for alias in node.names)
    return sorted(names, key=lambda name: (name.lower(), name))


def files_of(room: Path) -> Iterator[Path]:
    """Yield the files of a room and of the rooms in it, in order."""
    yield from sorted(path for path in room.glob('*.py') if not path.name.startswith('__'))
    for inner in sorted(path.parent for path in room.glob('*/__init__.py')):
        yield inner / '__init__.py'
        yield from files_of(inner)


def page() -> str:
    """Return the page."""
    lines = [
        '# Rooms and files',
        '',
        'Written by `python tools/rooms.py` from the docstrings. The rooms stand from the ground up: each knows only those',
        'above it on this page, and enters them through their doors (`__init__.py`).',
        '[architecture.md](architecture.md) has the picture and three walks through the code.',
        '',
    ]
    for name in ROOMS:
        room = PACKAGE / name
        lines += [f'## {name}/', '', idea_of(room / '__init__.py'), '']
        exported = exports_of(room)
        lines += [f'Door: {", ".join(f"`{each}`" for each in exported)}.', ''] if exported else []
        lines += ['| file | idea |', '| --- | --- |']
        for path in files_of(room):
            where = path.relative_to(room).as_posix()
            lines.append(f'| `{where.removesuffix("__init__.py")}` | {idea_of(path)} |')
        lines.append('')
    return '\n'.join(lines)


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='only tell whether the page is that of the code')
    options = parser.parse_args()
    text = page()
    if options.check:
        current = PAGE.exists() and PAGE.read_text(encoding='utf-8') == text
        print(
            'docs/rooms.md is that of the code.' if current else 'docs/rooms.md is out of date: python tools/rooms.py'
        )
        return 0 if current else 1
    PAGE.write_text(text, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
