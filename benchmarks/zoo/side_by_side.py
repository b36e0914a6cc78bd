"""Several sides timed in one process, in turns: what slows the machine down slows all of them."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def machine(device: str = 'cpu') -> str:
    """Describe the machine in a line, as tables of times are headed."""
    name = platform.processor() or platform.machine()
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            models = [line.split(':', 1)[1].strip() for line in file if line.startswith('model name')]
        name = models[0] if models else name
    place = torch.cuda.get_device_name(device) if torch.device(device).type == 'cuda' else name
    threads = torch.get_num_threads()
    return (
        f'{place}, {os.cpu_count()} cores, {threads} thread{"s" * (threads > 1)}; '
        f'torch {torch.__version__}, Python {platform.python_version()}'
    )


def add_clock_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add the options that every timing has: ``--rounds``, ``--threads``, ``--device`` and ``--cpu-time``."""
    parser.add_argument('--rounds', type=int, default=rounds, help=f'rounds; their median counts (default: {rounds})')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (default: 1)')
    parser.add_argument('--device', default='cpu', help="'cpu' (default) or 'cuda'")
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='count the time that this process works, not the time on the wall: for one thread, where others work too',
    )


def side_by_side(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    cpu_time: bool = False,
    warm: int = 2,
    before_round: Callable[[], Any] | None = None,
) -> dict[str, list[float]]:
    """Time some calls in rounds, each call once a round, every round in another order.

    Parameters
    ----------
    sides
        ``{name: what is called}``.
    rounds
        How often each is timed.
    cpu_time
        Count processor time of this process.
    warm
        Rounds before the clock starts.
    before_round
        Called before every round, outside of the clock: what the sides run on may change from round to round.

    Returns
    -------
    ``{name: seconds of each round}``.
    """
    names = list(sides)
    clock = time.process_time if cpu_time else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(-warm, rounds):
        if before_round is not None:
            before_round()
        shift = max(round_, 0) % len(names)
        for name in names[shift:] + names[:shift]:
            _synchronize()
            start = clock()
            sides[name]()
            _synchronize()
            if round_ >= 0:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], side: str, base: str) -> float:
    """Return how many times as long one side takes: the median over the rounds of the quotient within a round."""
    return statistics.median(a / b for a, b in zip(seconds[side], seconds[base]))


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
