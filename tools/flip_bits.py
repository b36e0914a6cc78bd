"""Flip a bit in a file of a finished run, start the run again, and see whether the damage is noticed."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: processes are forked, which threads would not survive

_ABOUT = """\
Flip a bit in a file of a finished run, start the run again, and see whether the damage is noticed.

A run that is started again in its folder gives its result once more, from its files. With a flipped bit it must either
fail with an error that names the file, or give the same result, where the file is not needed or is written anew.
"""
_MORE = """\
examples:
  python tools/flip_bits.py --flips 200
  python tools/flip_bits.py --run pruning --flips 50 --seed 1

Exit status: 0 no damage went unnoticed, 1 some did or the error did not name the file, 2 bad arguments.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Flip bits; return the exit status."""
    options = _parser().parse_args(arguments)
    warnings.filterwarnings('ignore')
    import torch

    from nni_cafenet.utils.files import write_json
    from nni_cafenet.utils.tables import as_markdown

    torch.set_num_threads(1)
    records: list[dict[str, Any]] = []
    for run in options.run:
        records += _flipped(run, options)
        write_json(options.output / 'flips.json', records)
    rows = [[run, *(_count(records, run, verdict) for verdict in _VERDICTS)] for run in options.run]
    print(as_markdown(['run', *_VERDICTS], rows))
    for record in records:
        if record['verdict'] in _WRONG:
            print(f'- {record["run"]}, {record["file"]}: {record["verdict"]}: {record["said"]}')
    return 1 if any(record['verdict'] in _WRONG for record in records) else 0


_VERDICTS = ('error names the file', 'same result', 'error without the file', 'another result')
_WRONG = _VERDICTS[2:]


def _flipped(run: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Do a run, then start it again with one flipped bit, as often as is asked for."""
    from campaign.cases import Expected
    from campaign.children import run_child
    from campaign.outcome import contents

    work = options.output.absolute() / 'work' / run
    expected = Expected.of(run, work)
    whole = work.parent / f'{run}-whole'
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(work / 'run', whole)
    files = sorted(contents(whole))
    rng = random.Random(f'{options.seed} {run}')
    records = []
    for number in range(options.flips):
        shutil.rmtree(work)
        shutil.copytree(whole, work / 'run')
        name = files[number % len(files)]
        _flip(work / 'run' / name, rng)
        ended = run_child(run, work)
        lines = (work / 'log.txt').read_text(encoding='utf-8', errors='replace').strip().splitlines()
        said = lines[-1] if lines else ''
        verdict = _verdict(expected.found, ended.found, name, '\n'.join(lines[-3:]))
        records.append(
            {'run': run, 'file': name, 'verdict': verdict, 'said': said[:300] if ended.found is None else ''}
        )
        print(f'[{run} {number + 1}/{options.flips}] {name}: {verdict}', flush=True)
    return records


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _verdict(expected: Mapping[str, Any], found: Mapping[str, Any] | None, name: str, said: str) -> str:
    if found is None:
        return _VERDICTS[0 if name.rpartition('/')[2] in said else 2]
    same = json.dumps(found['returned']) == json.dumps(expected['returned'])
    return _VERDICTS[1 if same else 3]


def _count(records: Sequence[Mapping[str, Any]], run: str, verdict: str) -> int:
    return sum(record['run'] == run and record['verdict'] == verdict for record in records)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='flip_bits.py',
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    runs = ('search', 'pruning', 'latency')
    parser.add_argument('--run', nargs='+', choices=runs, default=list(runs), help='default: all; see kill_campaign.py')
    parser.add_argument('--flips', type=int, default=40, metavar='N', help='bits a run, file by file (default: 40)')
    parser.add_argument('--seed', type=int, default=0, help='which bits (default: 0)')
    parser.add_argument(
        '--output', type=Path, default=Path('flipped_bits'), help='folder of the results (default: flipped_bits)'
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())
