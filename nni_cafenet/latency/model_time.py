"""Real time of a whole model."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..graph import ExampleInput
from ..slicing import using_mode
from ..utils import check_whole_number
from .clock import Clock, DeviceLike, Timing
from .runtimes import Runtime, clock_of

__all__ = ['time_model']


def time_model(
    model: nn.Module,
    example_input: Any,
    *,
    device: DeviceLike = 'cpu',
    batch: int | None = None,
    threads: int | None = None,
    runtime: Runtime = 'torch',
    warmup: int = 5,
    repeats: int = 30,
    clock: Clock | None = None,
    name: str = '',
) -> Timing:
    """Time a model in evaluation mode, without gradients; the model is left on its device and in its mode.

    Parameters
    ----------
    model
        Any module. On another device than ``device``, it is moved there and back.
    example_input
        Its input, in the forms of ``WidthSpace``.
    device
        The device to time it on; a GPU is synchronized.
    batch
        Samples per call: the first of ``example_input``, repeated. None: as in the example.
    threads
        Threads of torch on the CPU; None: as many as torch has now.
    runtime
        ``'torch'``; ``'onnxruntime'``, in which the network is timed as `export_onnx` writes it, on the CPU or, as in
        ``'onnxruntime:CUDAExecutionProvider'``, by another provider; or a function ``(model, example) -> seconds`` that
        deploys and times it elsewhere. `export_onnx` takes ``example``.
    warmup, repeats
        Numbers of untimed and timed calls. A function is called once.
    clock, name
        A clock in place of ``device``, ``threads`` and ``runtime``, and the name by which it knows the network again.

    Returns
    -------
    Timing
        Median and quartiles, ns.

    Raises
    ------
    ValueError
        If an option is out of range, device or runtime are unavailable, or the model is on the meta device.
    nni_cafenet.errors.MissingExtraError
        If onnxruntime is not installed.
    """
    clock = clock_of(runtime, device, threads) if clock is None else clock
    warmup = check_whole_number('warmup', warmup, 0)
    repeats = check_whole_number('repeats', repeats, 1)
    example = ExampleInput.of(example_input, model)
    if batch is not None:
        example = example.with_batch(check_whole_number('batch', batch, 1))
    first = next(model.parameters(), None)
    home = clock.device if first is None else first.device
    if home.type == 'meta':
        raise ValueError('model is on the meta device and computes nothing: give one with values, model.to_empty(...).')
    try:
        with using_mode(model, training=False):
            return clock.model(model.to(clock.device), example, warmup=warmup, repeats=repeats, name=name)
    finally:
        model.to(home)
