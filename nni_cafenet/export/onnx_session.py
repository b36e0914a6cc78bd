"""ONNX files in onnxruntime."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import MissingExtraError
from ..graph import ExampleInput
from .tensor_names import named_inputs

__all__ = ['OnnxSession', 'check_extra']


def check_extra(what: str, packages: Sequence[str] = ('onnx', 'onnxscript', 'onnxruntime')) -> None:
    """Raise MissingExtraError if a package of the extra ``onnx`` is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{what} needs {' and '.join(missing)}, not installed here: pip install 'nni-cafenet[onnx]'"
        )


class OnnxSession:
    """An ONNX file that `export_onnx` wrote, loaded by onnxruntime with ``threads`` on one provider."""

    def __init__(self, file: Path, *, threads: int, provider: str = 'CPUExecutionProvider') -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # failures are raised
        self._session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
        self._needed = {node.name for node in self._session.get_inputs()}

    def arrays(self, model: nn.Module, inputs: ExampleInput) -> dict[str, Any]:
        """Return the inputs of the file: those of the model that it was made of, by name."""
        named = named_inputs(model, inputs)
        return {name: tensor.detach().cpu().numpy() for name, tensor in named.items() if name in self._needed}

    def run(self, arrays: Mapping[str, Any]) -> list[Any]:
        """Return the outputs, as arrays."""
        outputs: list[Any] = self._session.run(None, arrays)
        return outputs
