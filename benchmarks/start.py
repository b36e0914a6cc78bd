"""How long it takes to start: what this package adds to importing torch and NNI, and the help of every command.

Every time is that of a fresh process, with bytecode already compiled, as it is once a package is installed; the median of
some rounds counts. Imports: torch and what a user of NNI's architecture search imports come first and are timed by
themselves; then this package, then the names that a search needs, then every public name. `added` is what each of these
takes on top of torch and NNI, measured inside the process, since the differences between processes are larger.
Commands: from the start of the process to its end.

    python benchmarks/start.py --output start
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nni_cafenet.cli.command_line import COMMANDS
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from zoo.side_by_side import machine

BASE = """\
import json, time
start = time.perf_counter()
import torch, nni
import nni.nas.evaluator.pytorch, nni.nas.experiment, nni.nas.nn.pytorch, nni.nas.space, nni.nas.strategy
base = time.perf_counter() - start
start = time.perf_counter()
{ours}
print(json.dumps([base, time.perf_counter() - start]))
"""
IMPORTS = {
    'import nni_cafenet': 'import nni_cafenet',
    'CafeNet, FlopsSensitiveBins, WidthMutator': 'from nni_cafenet import CafeNet, FlopsSensitiveBins, WidthMutator',
    'every public name': 'from nni_cafenet import *',
}


def main() -> None:
    """Measure what the command line asks for, and print and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--rounds', type=int, default=7, help='processes of each kind; their median counts (default: 7)'
    )
    parser.add_argument('--output', default='start', help='folder of the numbers (default: %(default)s)')
    options = parser.parse_args()
    result = measure(options.rounds)
    text = page(result)
    write_json(Path(options.output) / 'start.json', result)
    write_text(Path(options.output) / 'start.md', text + '\n')
    print(text)


def measure(rounds: int) -> dict[str, Any]:
    """Start processes in turns; return ``{'base' | 'added' | 'commands': seconds}``, lists of rounds."""
    commands = {command: f'nni-cafenet {command} --help'.replace('  ', ' ') for command in ['', *_commands()]}
    result: dict[str, Any] = {'machine': machine(), 'base': [], 'added': {}, 'commands': {}}
    with tempfile.TemporaryDirectory() as folder:
        bytecode = {**os.environ, 'PYTHONPYCACHEPREFIX': folder}
        bytecode.pop('PYTHONDONTWRITEBYTECODE', None)
        for round_ in tqdm(range(-1, rounds), desc='rounds', unit='round'):  # the first one compiles
            for name, ours in IMPORTS.items():
                base, added = json.loads(_run([sys.executable, '-c', BASE.format(ours=ours)], bytecode)[1])
                if round_ >= 0:
                    result['base'].append(base)
                    result['added'].setdefault(name, []).append(added)
            for command, name in commands.items():
                words = [*([command] if command else []), '--help']
                seconds, _ = _run([sys.executable, '-m', 'nni_cafenet.cli', *words], bytecode)
                if round_ >= 0:
                    result['commands'].setdefault(name, []).append(seconds)
    return result


def page(result: dict[str, Any]) -> str:
    """Return the tables."""
    base = statistics.median(result['base'])
    imports = [
        [name, f'{statistics.median(seconds):.3f} s', f'{100 * statistics.median(seconds) / base:.1f} %']
        for name, seconds in result['added'].items()
    ]
    commands = [[name, f'{statistics.median(seconds):.2f} s'] for name, seconds in result['commands'].items()]
    return '\n\n'.join(
        [
            as_markdown(['imported after torch and NNI', 'added', f'of the {base:.1f} s of torch and NNI'], imports),
            as_markdown(['command', 'from start to end'], commands),
            result['machine'],
        ]
    )


def _commands() -> list[str]:
    return [module.__name__.rpartition('.')[2].replace('_', '-') for module in COMMANDS]


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run a process to its end; return how long it took, in seconds, and the last line that it printed."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f'{command[-2:]} failed: {done.stderr.strip()[-500:]}')
    return seconds, (done.stdout.strip().splitlines() or [''])[-1]


if __name__ == '__main__':
    main()
