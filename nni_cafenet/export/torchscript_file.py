"""Export to TorchScript."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..graph import ExampleInput
from .compare import on_cpu, samples_of, takes_any_batch, tolerance_of
from .exporters import Exported, Exporter, Run, checked_path, export_checked
from .tensor_names import bound_arguments

__all__ = ['export_torchscript']


def export_torchscript(
    slim: nn.Module, path: str | os.PathLike[str], example_input: Any, *, tolerance: float | None = None
) -> Exported:
    """Export a model to TorchScript, and verify the file.

    It is scripted (its code is compiled), or traced with the example input if it cannot be scripted. ``torch.jit.load``
    reads the file without any code of the model; that of a detector needs ``import torchvision`` before, for its operators.
    A dict of values of several types, such as a tensor and a tuple, has no type in TorchScript: such outputs are rejected.

    Parameters
    ----------
    slim
        The model: a slim one, or any other. It is unchanged; the file computes its outputs in evaluation mode.
        ``torch.jit.load(path, map_location=...)`` puts it onto a device.
    path
        The file. It is replaced atomically once it agrees; else it is unchanged.
    example_input
        The model's input: a shape, a tensor, a tuple of arguments or a dict of keyword arguments.
    tolerance
        The largest difference that agrees, as for `export_onnx`.

    Returns
    -------
    The file, its size, how it was made (``'TorchScript, scripted'`` or ``'TorchScript, traced'``), and the largest
    difference found.

    Raises
    ------
    nni_cafenet.errors.TraceError
        If the model rejects the example input.
    nni_cafenet.errors.ExportError
        If neither produced a file that agrees; the message gives the reasons.
    ValueError
        If the model is on the meta device, or tolerance is negative.
    IsADirectoryError
        If the path is a folder.
    """
    path = checked_path(path, tolerance)
    model, example = on_cpu(slim, example_input)
    samples = samples_of(model, example)
    batched = takes_any_batch(example, samples)
    scripted, traced = 'TorchScript, scripted', 'TorchScript, traced'
    ways = [
        Exporter(scripted, batched, partial(_script, model)),
        Exporter(traced, batched, partial(_trace, model, example)),
    ]
    if batched:
        ways.append(Exporter(traced, False, partial(_trace, model, example)))
    return export_checked(
        ways,
        path,
        load=_load,
        samples=samples,
        tolerance=tolerance_of(model) if tolerance is None else tolerance,
    )


def _script(model: nn.Module, file: Path) -> None:
    torch.jit.save(torch.jit.script(model), str(file))


def _trace(model: nn.Module, example: ExampleInput, file: Path) -> None:
    example = example.fresh()
    inputs: dict[str, Any] = {'example_inputs': example.args}
    if example.kwargs:
        inputs = {'example_kwarg_inputs': bound_arguments(model, example)}
    with torch.no_grad():
        # Not strict: a model may return a dict. The check is ours.
        traced = torch.jit.trace(model, **inputs, strict=False, check_trace=False)
    torch.jit.save(traced, str(file))


def _load(file: Path) -> Run:
    module = torch.jit.load(str(file), map_location='cpu')

    def run(inputs: ExampleInput) -> list[Tensor]:
        fresh = inputs.fresh()
        with torch.no_grad():
            output = module(*fresh.args, **fresh.kwargs)
        return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]

    return run
