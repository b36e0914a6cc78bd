"""What can change in every torchvision model, and whether it is exact; two other tools beside it, where installed.

Of other packages, where installed (`pip install .[zoo]`), `--family` has small models: timm (one of each of its
architecture families), ultralytics (YOLOv8, 11 and 26), transformers (pictures, sound, text), smp (segmentation-models-
pytorch) and monai (3-D nets). Their fresh weights need no network.

A row a tool and model, appended to a JSON lines file as soon as it is measured; run again to go on where it stopped. Every
model has a process of its own, with one thread, so that none can end the run. Rows of several files make one page:

    python benchmarks/coverage.py --models resnet18 swin_t --output some.jsonl
    python benchmarks/coverage.py --tools torch-pruning modelopt --output peers.jsonl
    python benchmarks/coverage.py --tools ours --output ours.jsonl
    python benchmarks/coverage.py --rows ours.jsonl peers.jsonl --markdown docs/coverage.md
    python benchmarks/coverage.py --family timm ultralytics transformers smp monai --output zoo.jsonl --markdown docs/zoo.md

MACs are multiply-accumulates of one sample (FlopCounterMode / 2), without fused attention kernels, which no counter sees.
Two-stage detectors are compared at the proposals and detections of the full model: how many boxes their heads see depends
on values. The page says how to read every column.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from nni_cafenet.utils.files import append_line, read_jsonl, write_text
from zoo.models import FAMILIES, Case, cases
from zoo.page import WORKS, Rows, by_key, family_tables, page, totals
from zoo.process import BUILD_ONLY, MODULES, installed_tools, row_of


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tools', nargs='+', choices=MODULES, help='what to measure (default: all that are installed)')
    parser.add_argument(
        '--family', nargs='+', choices=FAMILIES, default=FAMILIES, help='models (default: all families)'
    )
    parser.add_argument(
        '--models', nargs='+', help='resnet18, timm:levit_128s, transformers:bert, ... (default: the whole families)'
    )
    parser.add_argument('--draws', type=int, default=2, help='random widths to check (default: 2)')
    parser.add_argument(
        '--seconds', type=float, default=3600, help='time limit of one of our models, checks included (default: 3600)'
    )
    parser.add_argument(
        '--peer-seconds',
        type=float,
        default=120,
        help='processor time that a peer may take for a model (default: 120)',
    )
    parser.add_argument('--memory', type=float, default=0, help='memory limit in GiB (default: none; Linux)')
    parser.add_argument('--retry', action='store_true', help='measure again what failed, was wrong or out of time')
    parser.add_argument(
        '--time-again',
        action='store_true',
        help='build the spaces of our rows again without checks, and replace seconds and memory: for a quiet machine',
    )
    parser.add_argument('--output', type=Path, default=Path('coverage.jsonl'), help='file of rows (coverage.jsonl)')
    parser.add_argument('--rows', nargs='+', type=Path, help='measure nothing: take the rows of these files')
    parser.add_argument('--markdown', type=Path, help='write the page here')
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.models or ()) - set(cases())):
        parser.error(f'--models: {unknown[0]!r} is no model of this benchmark; benchmarks/zoo/models.py has them')
    if missing := sorted(set(options.tools or ()) - set(installed_tools())):
        parser.error(f'--tools: {missing[0]} is not installed; pip install nni-cafenet[bench]')
    if options.time_again and not options.output.exists():
        parser.error(f'--time-again: there are no rows in {options.output}; measure them first')
    if absent := [path for path in options.rows or () if not path.exists()]:
        parser.error(f'--rows: there is no file {absent[0]}')
    return options


def wanted(options: argparse.Namespace) -> list[Case]:
    """Return the models to measure."""
    return [case for case in cases().values() if _is_wanted(case, options)]


def _is_wanted(case: Case, options: argparse.Namespace) -> bool:
    return case.name in options.models if options.models else case.family in options.family


def measure(options: argparse.Namespace) -> Rows:
    """Measure what is not in the file of rows yet, and return the rows of what was asked for."""
    rows = by_key(read_jsonl(options.output)) if options.output.exists() else {}
    asked = [(tool, case) for case in wanted(options) for tool in options.tools or installed_tools()]
    for tool, case in asked:
        key, at = (tool, case.name), commit()
        if key in rows and not (options.retry and rows[key]['verdict'] not in WORKS):
            continue
        seconds = options.seconds if tool == 'ours' else options.peer_seconds
        row = row_of(tool, case.name, draws=options.draws, seconds=seconds, memory=options.memory)
        about = {'family': case.family, 'shape': list(case.shape), 'machine': machine(), 'commit': at}
        rows[key] = {**about, **row}
        append_line(options.output, json.dumps(rows[key]))
        print(json.dumps({name: value for name, value in row.items() if name != 'fixed'}), flush=True)
    return {(tool, case.name): rows[tool, case.name] for tool, case in asked}


def time_again(options: argparse.Namespace) -> Rows:
    """Replace seconds and memory of the rows of what was asked for."""
    rows = by_key(read_jsonl(options.output))
    for case in wanted(options):
        key = ('ours', case.name)
        if key in rows and rows[key]['verdict'] in WORKS:
            row = row_of('ours', case.name, draws=BUILD_ONLY, seconds=options.seconds, memory=options.memory)
            fresh = {name: row[name] for name in ('seconds', 'cpu_seconds', 'memory', 'memory_growth') if name in row}
            rows[key] = {**rows[key], **fresh}
            append_line(options.output, json.dumps(rows[key]))
            print(json.dumps({'model': case.name, **fresh}), flush=True)
    return rows


def machine() -> str:
    """Describe the machine that rows are measured on."""
    return f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores, 1 thread used'


def commit() -> str | None:
    """Return the commit of this working tree, with a plus where it is changed; None outside of a repository."""
    describe = ['git', 'describe', '--always', '--abbrev=10', '--exclude=*', '--dirty=+']
    try:
        found = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return None
    return found.stdout.strip() or None


def main() -> None:
    """Measure or read what the command line names, and print or write it."""
    options = options_of(sys.argv[1:])
    if options.rows:
        rows = by_key(row for path in options.rows for row in read_jsonl(path))
    else:
        rows = time_again(options) if options.time_again else measure(options)
    if options.markdown:
        write_text(options.markdown, page(rows))
    for family in FAMILIES:
        if models := list(dict.fromkeys(row['model'] for row in rows.values() if row['family'] == family)):
            print(*family_tables(rows, models), sep='\n')
    print(totals(rows))


if __name__ == '__main__':
    main()
