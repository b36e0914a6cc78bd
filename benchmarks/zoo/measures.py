"""What is read off a model and a process: outputs, their distance, MACs, seconds, memory."""

from __future__ import annotations

import contextlib
import math
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet.analysis.verification import InDouble

from .library import Arguments


def run(model: nn.Module, arguments: Arguments, *, seed: int = 0) -> list[Tensor]:
    """Call a model without gradients and return the tensors of its output; random numbers are drawn from the seed.

    A model in float64 computes in it throughout, also where its code asks for float32.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)  # transformers mask parts of sounds by it
    random.seed(seed)
    precise = any(parameter.dtype is torch.float64 for parameter in model.parameters())
    with torch.no_grad(), InDouble() if precise else contextlib.nullcontext():
        output = model(**arguments) if isinstance(arguments, dict) else model(*arguments)
    return [leaf for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def run_counted(model: nn.Module, arguments: Arguments) -> tuple[list[Tensor], int]:
    """Call a model as `run` does; return its output and the multiply-accumulates of the call (``FlopCounterMode / 2``).

    Attention is not fused: not every release of torch counts the products of its kernels. The parameters need no gradients
    meanwhile: the counter fails where a module is called on a view of one (``token.expand(batch, -1, -1)``).
    """
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            output = run(model, arguments)
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
    return output, counter.get_total_flops() // 2


def distance(left: list[Tensor], right: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest value of its tensor; inf where shapes differ or a NaN is.

    Values that both outputs have, infinities included, do not differ.
    """
    if not left or [a.shape for a in left] != [b.shape for b in right]:
        return math.inf
    return max(_distance(a.double(), b.double()) for a, b in zip(left, right))


def _distance(left: Tensor, right: Tensor) -> float:
    if left.numel() == 0 or bool((left == right).all()):
        return 0.0
    error = float((left - right).abs().max() / right.abs().max().clamp_min(1e-30))
    return error if math.isfinite(error) else math.inf


@dataclass
class Stopwatch:
    """Seconds of a block.

    Parameters
    ----------
    seconds
        Of the clock on the wall.
    cpu_seconds
        Of this process on its processors.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def row(self) -> dict[str, float]:
        """Return the two as columns of a row."""
        return {'seconds': round(self.seconds, 2), 'cpu_seconds': round(self.cpu_seconds, 2)}


@contextlib.contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measure how long a block takes."""
    watch, wall, cpu = Stopwatch(), time.perf_counter(), time.process_time()
    try:
        yield watch
    finally:
        watch.seconds, watch.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu


class OutOfTimeError(BaseException):
    """A block took more time than it may; no ``except Exception`` of a tool shall swallow it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` in a block that takes more processor time (main thread only, as signals are)."""

    def stop(*_: Any) -> None:
        raise OutOfTimeError(f'more than {seconds:g} s')

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def peak_memory() -> float:
    """Return the most memory that this process had so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == 'darwin' else peak / 2**10


def limit_memory(gibibytes: float) -> None:
    """Let allocations fail beyond so much memory (Linux), before the machine runs out of it."""
    if gibibytes > 0:
        size = int(gibibytes * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def first_line(error: BaseException) -> str:
    """Return the kind and the first line of an error's message, cut to a table's width."""
    message = (str(error).strip().splitlines() or [''])[0][:160]
    return f'{type(error).__name__}: {message}' if message else type(error).__name__
