"""Real time of operators and of whole models on a device, in nanoseconds."""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..graph import ExampleInput
from ..utils import check_whole_number, format_time
from .recorded_ops import Operator

__all__ = ['Clock', 'DeviceLike', 'Timing', 'check_device', 'processor']

DeviceLike = str | torch.device

_BLOCKS = 5  # timed blocks of calls of an operator, of which the median counts
_BLOCK_NS = 300_000  # minimum length of a block, to make clock overhead negligible
_MOST_CALLS = 200  # in a block


@dataclass(frozen=True)
class Timing:
    """Duration of a call: the median and quartiles of all timed runs, in ns, and the number of runs."""

    median: int
    low: int
    high: int
    runs: int

    @classmethod
    def of(cls, times: list[int]) -> Timing:
        """Summarize the times of some runs, ns."""
        if len(times) == 1:
            return cls(times[0], times[0], times[0], 1)
        low, _, high = statistics.quantiles(times, n=4, method='inclusive')
        return cls(round(statistics.median(times)), round(low), round(high), len(times))

    def __str__(self) -> str:
        spread = f'{format_time(self.low)} to {format_time(self.high)}'
        return f'{format_time(self.median)} (half of {self.runs} runs: {spread})'


def check_device(device: DeviceLike, argument: str = 'device') -> torch.device:
    """Return an available device.

    Raises ValueError if torch does not know it, cannot use it here, or nothing can be timed on it.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{argument}={device!r} is not a device of torch: write 'cpu' or 'cuda'.") from error
    if found.type == 'cpu':
        return found
    module: Any = getattr(torch, found.type, None)
    if not hasattr(module, 'is_available') or not hasattr(module, 'synchronize'):
        raise ValueError(f"{argument}={device!r}: nothing can be timed on {found.type}. Use 'cpu' or 'cuda'.")
    if not module.is_available():
        name = found.type.upper()
        raise ValueError(
            f"{argument}={device!r}: {name} is not available here. Use device='cpu', or measure on another machine, save "
            "the table (LatencyTable.measure(...).save('lat.json')) and give that: {'latency': ..., 'table': 'lat.json'}."
        )
    count = module.device_count() if hasattr(module, 'device_count') else 1
    if found.index is not None and found.index >= count:
        raise ValueError(f'{argument}={device!r}: there are {count} such devices here, counted from 0.')
    return found


class Clock:
    """Times calls on a device, with a number of CPU threads; None: as many as torch has now.

    Raises ValueError if the device is unavailable, or ``threads`` is not a number.
    """

    runtime = 'torch'

    def __init__(self, device: DeviceLike = 'cpu', threads: int | None = None) -> None:
        self.device = check_device(device)
        self.threads = torch.get_num_threads() if threads is None else check_whole_number('threads', threads, 1)

    def describe(self) -> str:
        """Return the conditions of a measurement: processor, threads, versions."""
        if self.device.type == 'cuda':
            return f'{torch.cuda.get_device_name(self.device)}, torch {torch.__version__}'
        return f'{self.device.type}, {self.cpu}, torch {torch.__version__}'

    @property
    def cpu(self) -> str:
        """The name of the processor, and the number of its threads."""
        return f'{processor()}, {self.threads} thread{"" if self.threads == 1 else "s"}'

    def operator(self, operator: Operator) -> int:
        """Time one operator, on tensors of ones in place of its own; ns. Errors of the operator are raised.

        Blocks of calls are timed, since one may be too short, and the median block counts. On a GPU the calls of a
        block are launched without synchronization, as in a model.
        """
        with self._ready():
            call = operator.prepared(self.device)
            for _ in range(2):
                call()
            once = self._block(call, 1)
            calls = min(_MOST_CALLS, 1 + _BLOCK_NS // max(once, 1))
            return max(1, round(statistics.median(self._block(call, calls) / calls for _ in range(_BLOCKS))))

    def model(
        self, model: nn.Module, example: ExampleInput, *, warmup: int = 3, repeats: int = 10, name: str = ''
    ) -> Timing:
        """Time calls of a model, which is on the device and in the right mode; equal names mean equal networks."""
        inputs = example.map(lambda tensor: tensor.detach().to(self.device, copy=True))
        return self.calls(lambda: model(*inputs.args, **inputs.kwargs), warmup=warmup, repeats=repeats)

    def calls(self, call: Callable[[], Any], *, warmup: int, repeats: int) -> Timing:
        """Time calls of a function."""
        with self._ready():
            for _ in range(warmup):
                call()
            return Timing.of([self._block(call, 1) for _ in range(repeats)])

    def _block(self, call: Callable[[], Any], calls: int) -> int:
        self._synchronize()
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        self._synchronize()
        return time.perf_counter_ns() - start

    def _synchronize(self) -> None:
        if self.device.type != 'cpu':
            getattr(torch, self.device.type).synchronize()

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """Without gradients, with the given threads; random generators are restored."""
        before = torch.get_num_threads()
        cuda = [self.device] if self.device.type == 'cuda' else []
        with torch.no_grad(), torch.random.fork_rng(devices=cuda):
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)


def processor() -> str:
    """Return the name of the processor, if known."""
    try:
        for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
