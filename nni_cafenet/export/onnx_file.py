"""Export to ONNX, verified in onnxruntime."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..graph import ExampleInput
from .compare import has_batch, on_cpu, samples_of, takes_any_batch, tolerance_of
from .exporters import Exported, Exporter, Run, checked_path, export_checked
from .onnx_session import OnnxSession, check_extra
from .tensor_names import bound_arguments, named_inputs, output_names

__all__ = ['export_onnx']

_LARGEST = 2**31  # bytes of a protocol buffer


def export_onnx(
    slim: nn.Module,
    path: str | os.PathLike[str],
    example_input: Any,
    *,
    check: bool = True,
    tolerance: float | None = None,
    opset: int | None = None,
) -> Exported:
    """Export a model to ONNX, and verify the file in onnxruntime.

    ``torch.export`` is tried first, for batches of any size, then for those of the example. If that
    fails, as with detectors, whose number of boxes depends on values, TorchScript is tried. The first file
    that agrees with the model is kept.

    Parameters
    ----------
    slim
        The model: a slim one, or any other. It is unchanged; the file computes its outputs in evaluation mode.
    path
        The file. It is replaced atomically once it agrees; else it is unchanged.
    example_input
        The model's input: a shape, a tensor, a tuple of arguments or a dict of keyword arguments.
    check
        Run the file in onnxruntime on the example, on random inputs of its kind and on a larger batch.
    tolerance
        The largest difference that agrees, as a share of the largest value of an output tensor. Default: 1e-4, or 1e-2 for
        models in half precision. Whole numbers must be equal.
    opset
        Version of ONNX's operators; default: the exporter's.

    Returns
    -------
    The file, its size, how it was made, and the largest difference found. The inputs have the names of the
    arguments of ``forward``; outputs are ``output``, or the keys of the returned container (``output.0``, ``boxes``).

    Raises
    ------
    nni_cafenet.errors.MissingExtraError
        If a package of the extra ``onnx`` is missing.
    nni_cafenet.errors.TraceError
        If the model rejects the example input.
    nni_cafenet.errors.ExportError
        If no exporter produced a file that agrees; the message gives the reasons.
    ValueError
        If the model has 2 GB or more, the limit of ONNX files, is on the meta device, or tolerance is negative.
    IsADirectoryError
        If the path is a folder.
    """
    path = checked_path(path, tolerance)
    check_extra('export to ONNX', ['onnx', 'onnxscript', *(['onnxruntime'] if check else [])])
    model, example = on_cpu(slim, example_input)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size >= _LARGEST:
        raise ValueError(f'slim has {size:,} bytes of weights; an ONNX file holds less than {_LARGEST:,}')
    samples = samples_of(model, example)
    exported = export_checked(
        _ways(model, example, opset, takes_any_batch(example, samples)),
        path,
        load=partial(_load, model) if check else None,
        samples=samples,
        tolerance=tolerance_of(model) if tolerance is None else tolerance,
    )
    return dataclasses.replace(exported, opset=_opset(path))


def _ways(model: nn.Module, example: ExampleInput, opset: int | None, batched: bool) -> list[Exporter]:
    ways = []
    writers: list[tuple[str, Callable[..., None]]] = [('torch.export', _by_export), ('TorchScript', _by_torchscript)]
    for name, write in writers:
        for any_batch in [True, False] if batched else [False]:
            ways.append(Exporter(name, any_batch, partial(write, model, example, any_batch, opset)))
    return ways


def _by_export(model: nn.Module, example: ExampleInput, any_batch: bool, opset: int | None, file: Path) -> None:
    shapes = None
    if any_batch:
        # torch.export treats a size of one as fixed.
        example = example.with_batch_of_two()
        batch_size = example.batch_size

        def free(leaf: Any) -> Any:
            is_free = isinstance(leaf, Tensor) and has_batch(leaf, batch_size)
            return {0: torch.export.Dim.DYNAMIC} if is_free else None

        shapes = pytree.tree_map(free, bound_arguments(model, example))
    program = torch.onnx.export(
        model, dynamo=True, dynamic_shapes=shapes, verbose=False, opset_version=opset, **_call(model, example)
    )
    program.save(str(file))  # type: ignore[union-attr]


def _by_torchscript(model: nn.Module, example: ExampleInput, any_batch: bool, opset: int | None, file: Path) -> None:
    axes = None
    call = _call(model, example)
    if any_batch:
        inputs = named_inputs(model, example)
        axes = {name: {0: 'batch'} for name, tensor in inputs.items() if has_batch(tensor, example.batch_size)}
    torch.onnx.export(model, f=str(file), dynamo=False, dynamic_axes=axes, opset_version=opset, **call)


def _call(model: nn.Module, example: ExampleInput) -> dict[str, Any]:
    """Arguments of both exporters."""
    example = example.fresh()
    names = list(named_inputs(model, example))
    return {
        'args': example.args,
        'kwargs': example.kwargs or None,
        'input_names': names,
        'output_names': output_names(model, example, taken=names),
    }


def _load(model: nn.Module, file: Path) -> Run:
    session = OnnxSession(file, threads=torch.get_num_threads())
    return lambda inputs: [torch.from_numpy(array) for array in session.run(session.arrays(model, inputs))]


def _opset(path: Path) -> int | None:
    import onnx

    versions = {each.domain: int(each.version) for each in onnx.load(str(path), load_external_data=False).opset_import}
    return versions.get('')
