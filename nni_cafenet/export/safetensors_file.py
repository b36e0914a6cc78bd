"""Weights of a network as a safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..errors import ExportError, MissingExtraError
from ..utils import write_bytes
from .exporters import checked_path

__all__ = ['export_safetensors']


def export_safetensors(slim: nn.Module, path: str | os.PathLike[str], widths: Mapping[str, int]) -> Path:
    """Write the ``state_dict`` of a network as safetensors, with its widths in the metadata, and read it again.

    Raises MissingExtraError without the package ``safetensors``, ExportError if the file holds other values.
    """
    path = checked_path(path, None)
    try:
        from safetensors.torch import load, save
    except ImportError as error:
        raise MissingExtraError("safetensors needs a package: pip install 'nni-cafenet[safetensors]'") from error
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in slim.state_dict().items()}
    content = save(state, {'format': 'pt', 'widths': json.dumps(dict(widths))})
    again = load(content)
    if again.keys() != state.keys() or not all(torch.equal(again[name], state[name]) for name in state):
        raise ExportError(f'{path} was not written: it would hold other values than the network')
    write_bytes(path, content)
    return path
