"""Export to ONNX and TorchScript, verified against the model."""

from .onnx_file import export_onnx
from .torchscript_file import export_torchscript

__all__ = ['export_onnx', 'export_torchscript']
