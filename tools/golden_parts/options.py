"""What `golden.py` is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

__all__ = ['PART_NAMES', 'parsed']

PART_NAMES = {
    'graphs': 'channel graphs: labels, groups, reasons, layouts, attributes, both polynomials, bins',
    'steps': 'three steps of a supernet: outputs, loss, gradients, parameters, buffers; 5 networks x 2 sharings x 4 widths',
    'proposals': 'what the searchers propose for a fake score: 2 budgets, 3 seeds',
    'runs': 'folders of small runs at their end, uninterrupted, and killed in each stage and resumed',
    'files': 'slim files',
}

_ABOUT = """\
Freeze what must stay the same to the bit while code moves, and compare.

Before a change, write hashes; after it, compare. An item (a model, a run) has a hash a field, so that a difference is
named by its field: "labels", "reasons", "MACs polynomial", "gradients: LocallyFree, half". Names of classes and modules
are in no hash, apart from fields that start with "bytes". Only --ignore leaves a field out:

  --ignore reasons     sentences about channels that cannot change
  --ignore 'bytes*'    the bytes of files, in which digests of code are; "values: FILE" leaves those out
"""

_MORE = """\
examples:
  python tools/golden.py --output before.json                          everything: half an hour on one core
  python tools/golden.py --compare before.json                         the same items, and a table of what differs
  python tools/golden.py --compare before.json --parts graphs --models quick            a minute, after each commit
  python tools/golden.py --compare before.json --output after.json     keep the new hashes, too
  python tools/golden.py --output b.json --values b --models resnet18  with the values themselves, for diff -r

Every item is a process of its own with one thread. Results are written item by item: started again with the same output, a
command does what is left; after a change of the package it refuses to. Models of packages that are not installed are left
out, with a note. Hashes hold for one machine and one release of torch. Only Linux: processes are forked.

Exit status: 0 nothing differs, 1 something does (or an item fails), 2 bad arguments, 130 interrupted.
"""


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line; exits with status 2 where they are wrong."""
    parts = '\n'.join(f'  {name:<10} {what}' for name, what in PART_NAMES.items())
    parser = argparse.ArgumentParser(
        prog='golden.py',
        description=f'{_ABOUT}\nparts:\n{parts}\n',
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument('--output', type=Path, metavar='FILE', help='JSON file of the hashes')
    parser.add_argument('--compare', type=Path, metavar='FILE', help='compute its items again, and compare')
    parser.add_argument('--parts', nargs='+', choices=PART_NAMES, default=list(PART_NAMES), help='default: all')
    parser.add_argument(
        '--models', nargs='+', default=['all'], metavar='NAME', help='of the graphs: all (default), quick, or names'
    )
    parser.add_argument('--items', nargs='+', metavar='NAME', help='of the other parts: items by name (default: all)')
    parser.add_argument('--ignore', nargs='+', default=[], metavar='FIELD', help='fields, as shell patterns')
    parser.add_argument(
        '--limit', type=int, default=60, metavar='S', help='leave out graphs that take S seconds or more (default: 60)'
    )
    parser.add_argument('--values', type=Path, metavar='FOLDER', help='also write what was hashed, a JSON file an item')
    options = parser.parse_args(arguments)
    if options.output is None and options.compare is None:
        parser.error('give --output FILE to write hashes, or --compare FILE')
    if options.compare is not None and not options.compare.exists():
        parser.error(f'--compare: there is no file {options.compare}')
    if options.compare is not None and options.output == options.compare:
        parser.error('--output must be another file than --compare')
    if options.limit < 1:
        parser.error(f'--limit: {options.limit} must be 1 or more')
    return options
