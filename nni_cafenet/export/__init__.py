"""Slim models in formats that need no Python code of theirs: ONNX and TorchScript, held against the model.

The files in the order of the work: ``agreement`` (what the model computes, and how far a file is from it), ``names`` (of
inputs and outputs), ``ways`` (the first way to write a file that agrees), ``onnx_file`` and ``torchscript_file`` (the front
doors).
"""

from .onnx_file import export_onnx
from .torchscript_file import export_torchscript

__all__ = ['export_onnx', 'export_torchscript']
