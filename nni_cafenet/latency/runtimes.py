"""Runtimes in which whole networks are timed: torch, ONNX Runtime, or a function of the user's."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ..export import OnnxSession, check_extra, export_onnx
from ..graph import ExampleInput
from .clock import Clock, DeviceLike, Timing

__all__ = ['Runtime', 'check_runtime', 'clock_of', 'runtime_name']

Runtime = str | Callable[[nn.Module, ExampleInput], float]
"""``'torch'``, ``'onnxruntime'``, ``'onnxruntime:PROVIDER'``, or a function that returns the seconds of one call."""

_CPU = 'CPUExecutionProvider'


def runtime_name(runtime: Runtime) -> str:
    """Return the name of a runtime, as tables record it; that of a function has parentheses."""
    if isinstance(runtime, str):
        return runtime
    return f'{getattr(runtime, "__module__", "")}.{getattr(runtime, "__qualname__", type(runtime).__qualname__)}()'


def check_runtime(runtime: Any, argument: str = 'runtime') -> Runtime:
    """Return a runtime; raise ValueError if it is none, MissingExtraError if its packages are not installed."""
    if callable(runtime):
        return runtime  # type: ignore[no-any-return]
    name, _, provider = runtime.partition(':') if isinstance(runtime, str) else ('', '', '')
    if name not in ('torch', 'onnxruntime') or (name == 'torch' and provider):
        raise ValueError(
            f"{argument}={runtime!r} must be 'torch', 'onnxruntime', 'onnxruntime:' and a provider, or a function "
            '(model, example) -> seconds.'
        )
    if name == 'onnxruntime':
        check_extra(f'{argument}={runtime!r}')
        import onnxruntime

        here = onnxruntime.get_available_providers()
        if provider and provider not in here:
            raise ValueError(f'{argument}={runtime!r}: onnxruntime has no {provider} here, but {", ".join(here)}.')
    return str(runtime)


def clock_of(runtime: Runtime, device: DeviceLike = 'cpu', threads: int | None = None) -> Clock:
    """Return the clock of a runtime.

    Raises ValueError if a runtime other than torch is asked for on another device than ``'cpu'``.
    """
    runtime = check_runtime(runtime)
    if runtime == 'torch':
        return Clock(device, threads)
    if str(device) != 'cpu':
        remedy = "leave device out; onnxruntime's providers are written 'onnxruntime:CUDAExecutionProvider'"
        raise ValueError(f'device={device!r} is a device of torch, but runtime={runtime_name(runtime)!r}: {remedy}.')
    return OnnxClock(runtime, threads) if isinstance(runtime, str) else FunctionClock(runtime, threads)


class OnnxClock(Clock):
    """Times whole networks in ONNX Runtime, exported by `export_onnx`; operators alone are timed in torch on the CPU."""

    def __init__(self, runtime: str = 'onnxruntime', threads: int | None = None) -> None:
        super().__init__('cpu', threads)
        self.runtime = runtime
        self.provider = runtime.partition(':')[2] or _CPU

    def describe(self) -> str:
        """Return provider, processor, threads and version."""
        import onnxruntime

        return f'onnxruntime {onnxruntime.__version__}, {self.provider}, {self.cpu}'

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix='nni-cafenet-onnx-')

    def model(
        self, model: nn.Module, example: ExampleInput, *, warmup: int = 3, repeats: int = 10, name: str = ''
    ) -> Timing:
        """Time calls of the exported model; a file that was exported under the same ``name`` is used again."""
        path = Path(self._folder.name) / f'{hashlib.sha256(name.encode()).hexdigest()[:16]}.onnx'
        if not name or not path.exists():
            export_onnx(model, path, example, check=False)
        session = OnnxSession(path, threads=self.threads, provider=self.provider)
        arrays = session.arrays(model, example)
        return self.calls(lambda: session.run(arrays), warmup=warmup, repeats=repeats)


class FunctionClock(Clock):
    """Times whole networks by a function of the user's; operators alone are timed in torch on the CPU."""

    def __init__(self, function: Callable[[nn.Module, ExampleInput], float], threads: int | None = None) -> None:
        super().__init__('cpu', threads)
        self.runtime = runtime_name(function)
        self._function = function

    def describe(self) -> str:
        """Return the name of the function."""
        return self.runtime

    def model(
        self, model: nn.Module, example: ExampleInput, *, warmup: int = 3, repeats: int = 10, name: str = ''
    ) -> Timing:
        """Call the function once: warm-up and repetition are its own.

        Raises ValueError if it does not return seconds above zero.
        """
        found = self._function(model, example)
        try:
            seconds = float(found)
        except (TypeError, ValueError):
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ValueError(
                f'runtime={self.runtime}: returned {found!r}, but must return the seconds of one call of the network, a '
                'number above 0.'
            )
        return Timing.of([max(1, round(seconds * 1e9))])
