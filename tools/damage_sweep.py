"""Flip bits and change digits in every file of a finished run, and count what its readers notice.

python tools/damage_sweep.py RUN --each 20
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from nni_cafenet.utils.json_records import read_record, read_records
from nni_cafenet.utils.torch_files import load_torch

_NOT_READ = ('process.json', 'history.json')


def sweep(run: Path, *, each: int = 20, seed: int = 0) -> dict[str, Counter[str]]:
    """Damage copies of the files of a run.

    Parameters
    ----------
    run
        The folder of a finished run; it is left as it is.
    each
        Flipped bits a file, and as many changed digits in text.
    seed
        Seed of the places.

    Returns
    -------
    ``{file: {'noticed': count, 'silent': count}}``, of the files that a run reads again. A last line that is dropped with a
    warning counts as noticed.
    """
    rng, found = random.Random(seed), dict[str, Counter[str]]()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(run.rglob('*')):
            if not path.is_file() or not _is_read(path):
                continue
            content, copy = path.read_bytes(), Path(folder, path.name)
            shutil.copyfile(path, copy)
            before, counts = _read(copy), Counter[str]()
            for damaged in _damages(content, path.suffix, each, rng):
                copy.write_bytes(damaged)
                counts['silent' if _read(copy) == before else 'noticed'] += 1
            found[str(path.relative_to(run))] = counts
    return found


def _damages(content: bytes, suffix: str, each: int, rng: random.Random) -> list[bytes]:
    bits = [(at, 1 << rng.randrange(8)) for at in (rng.randrange(len(content)) for _ in range(each))]
    digits = [match.start() for match in re.finditer(rb'[0-9]', content)] if suffix in ('.json', '.jsonl') else []
    bits += [(at, 1) for at in rng.sample(digits, min(each, len(digits)))]  # 0 and 1, 2 and 3, ... differ by one bit
    return [content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :] for at, bit in bits]


def _is_read(path: Path) -> bool:
    return path.suffix in ('.json', '.jsonl', '.pt', '.ckpt') and path.name not in _NOT_READ


def _read(path: Path) -> str:
    """Return what a reader says of a file: whether it takes it whole."""
    try:
        if path.suffix == '.jsonl':
            return f'{len(read_records(path, remedy=""))} records'
        if path.suffix == '.json':
            read_record(path, remedy='', signed_for='setup' if path.name == 'setup.json' else None)
        else:
            load_torch(path, remedy='')
    except ValueError as error:
        return str(error)
    return 'whole'


def main() -> None:
    """Print a line a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', type=Path)
    parser.add_argument('--each', type=int, default=20)
    options = parser.parse_args()
    for name, counts in sweep(options.run, each=options.each).items():
        print(f'{name}: {counts["noticed"]} of {sum(counts.values())} noticed')


if __name__ == '__main__':
    main()
