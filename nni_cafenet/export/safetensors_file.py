"""Weights of a network as a safetensors file."""

from __future__ import annotations

import hashlib
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
    """Write the ``state_dict`` of a network as safetensors, and read it again; the metadata has widths and a checksum.

    `load_slim` reads it beside the ``widths.json`` of the network, under the name ``slim.safetensors``.
    Raises MissingExtraError without the package ``safetensors``, ExportError if the file holds other values.
    """
    path = checked_path(path, None)
    try:
        from safetensors.torch import load, save
    except ImportError as error:
        raise MissingExtraError("safetensors needs a package: pip install 'nni-cafenet[safetensors]'") from error
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in slim.state_dict().items()}
    facts = {'format': 'pt', 'widths': json.dumps(dict(widths))}
    content = save(state, facts)
    facts['sha256'] = hashlib.sha256(content[8 + int.from_bytes(content[:8], 'little') :]).hexdigest()  # of the tensors
    content = save(state, facts)
    again = load(content)
    if again.keys() != state.keys() or not all(torch.equal(again[name], state[name]) for name in state):
        raise ExportError(f'{path} was not written: it would hold other values than the network')
    write_bytes(path, content)
    return path
