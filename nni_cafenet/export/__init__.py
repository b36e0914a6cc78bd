"""Export to ONNX and TorchScript, verified against the model."""

from .onnx_file import export_onnx
from .onnx_session import OnnxSession, check_extra
from .torchscript_file import export_torchscript

__all__ = ['OnnxSession', 'check_extra', 'export_onnx', 'export_torchscript']
