"""Try exporters in turn until a file agrees with the model."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import ExportError, first_line
from ..graph import ExampleInput
from ..utils import check_number, check_path as checked, suppress_torch_output, write_bytes
from .compare import Sample, largest_difference

__all__ = ['Exported', 'Exporter', 'Run', 'checked_path', 'export_checked']

Run = Callable[[ExampleInput], Sequence[Tensor]]


@dataclass(frozen=True)
class Exporter:
    """One way to write a file, perhaps for batches of any size."""

    name: str
    any_batch: bool
    write: Callable[[Path], None]


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked. ``print`` shows it as a sentence.

    Attributes
    ----------
    size
        Its size in bytes.
    way
        How it was made, such as ``'torch.export'``, ``'TorchScript, scripted'``.
    any_batch
        Whether it takes batches of any size; else only that of the example input.
    largest_difference
        The largest difference from the model's outputs, as a share of the largest value of the output tensor concerned;
        None if the file was not run.
    opset
        Version of ONNX's operators; None for other formats.
    failed
        Why the ways tried before failed.
    """

    path: Path
    size: int
    way: str
    any_batch: bool
    largest_difference: float | None
    opset: int | None = None
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        batch = 'batches of any size' if self.any_batch else "batches of the example input's size"
        kind = '' if self.opset is None else f', opset {self.opset}'
        if self.largest_difference is None:
            found = 'it was not run'
        else:
            found = f'its outputs differ from those of the model by {self.largest_difference:.1g} of the largest'
        text = f'{self.path}: {self.size:,} bytes, through {self.way}{kind}, for {batch}; {found}.'
        return text + ''.join(f'\n  not through {reason}' for reason in self.failed)


def export_checked(
    ways: Sequence[Exporter],
    path: Path,
    *,
    load: Callable[[Path], Run] | None,
    samples: Sequence[Sample],
    tolerance: float,
) -> Exported:
    """Write a file by the first way whose file agrees with the model within the tolerance.

    ``load`` makes a file runnable; None: files are not run. ``path`` is replaced once a file agrees; if none does, it
    is unchanged, and ExportError gives the reason of each way.
    """
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix='nni-cafenet-') as folder:
        for number, way in enumerate(ways):
            file = Path(folder) / f'{number}{path.suffix}'
            try:
                with suppress_torch_output():
                    way.write(file)
                    known = [sample for sample in samples if way.any_batch or sample.of_example_size]
                    difference = None if load is None else largest_difference(load(file), known)
            except Exception as error:  # noqa: BLE001 - exporters raise anything
                failed.append(f'{_described(way)}: {_reason(error)}')
                continue
            if difference is None or difference <= tolerance:
                content = file.read_bytes()
                write_bytes(path, content)
                return Exported(path, len(content), way.name, way.any_batch, difference, failed=tuple(failed))
            failed.append(f'{_described(way)}: {_disagreement(difference, tolerance)}')
    reasons = '\n'.join(f'  through {reason}' for reason in failed)
    raise ExportError(f'{path} was not written:\n{reasons}')


def checked_path(path: str | os.PathLike[str], tolerance: float | None) -> Path:
    """Check, before any work, that the path is not a folder and the tolerance is valid."""
    path = checked('path', path)
    if path.is_dir():
        raise IsADirectoryError(f'path must name a file, but {path} is a folder')
    if tolerance is not None:
        check_number('tolerance', tolerance, 0)
    return path


def _disagreement(difference: float, tolerance: float) -> str:
    if difference == math.inf:
        return 'its outputs have other shapes, whole numbers or values that are not finite'
    return f'its outputs differ from those of the model by {difference:.2g} of the largest, more than {tolerance=:g}'


def _reason(error: BaseException) -> str:
    """The first line of the original error: exporters wrap it in debugging advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f'{type(error).__name__}: {first_line(error, most=200)}'


def _described(way: Exporter) -> str:
    return f'{way.name} for batches of any size' if way.any_batch else way.name
