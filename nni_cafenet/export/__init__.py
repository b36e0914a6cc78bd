"""Export to ONNX and TorchScript, verified against the model, and of weights to safetensors."""

from .onnx_file import export_onnx
from .onnx_session import OnnxSession, check_extra
from .safetensors_file import export_safetensors
from .torchscript_file import export_torchscript

__all__ = ['OnnxSession', 'check_extra', 'export_onnx', 'export_safetensors', 'export_torchscript']
