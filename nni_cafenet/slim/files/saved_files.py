"""The files of a saved slim model, read and verified by their checksums."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ['read_tensors', 'read_weights', 'read_widths']


def read_widths(folder: Path) -> dict[str, Any]:
    """Return the record of ``widths.json``."""
    file = folder / 'widths.json'
    content = _content(file)
    try:
        record = json.loads(content.decode('utf-8'))
        checksum = record['checksum']
        before, _, after = content.rpartition(checksum.encode())
        right = bool(re.fullmatch('[0-9a-f]{64}', checksum))
        right = right and hashlib.sha256(before + b'0' * 64 + after).hexdigest() == checksum
        if not (isinstance(record['files'], dict) and isinstance(record['modules'], dict)):
            raise TypeError
    except KeyError as error:
        raise _damaged(file, f'it has no {error}: another version wrote it') from error
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise _damaged(file, type(error).__name__) from error
    if not right:
        raise _damaged(file, 'its checksum does not match its content')
    return dict(record)


def read_weights(folder: Path, record: Mapping[str, Any]) -> Any:
    """Return the weights: those of ``slim.pt``, or else of ``slim.safetensors``."""
    if not (folder / 'slim.pt').is_file() and (folder / 'slim.safetensors').is_file():
        return _safe_tensors(folder / 'slim.safetensors', record)
    return read_tensors(folder, 'slim.pt', record)


def _safe_tensors(file: Path, record: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Read a safetensors file, and verify the widths and the checksum in its metadata, if there are any."""
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise ImportError(f'{file} needs the package safetensors: pip install safetensors.') from error
    content = _content(file)
    start = 8 + int.from_bytes(content[:8], 'little')
    try:
        state: dict[str, torch.Tensor] = load(content)
        facts = json.loads(content[8:start]).get('__metadata__') or {}
        widths = json.loads(facts.get('widths', 'null'))
    except Exception as error:  # safetensors has an error class of its own
        raise _damaged(file, type(error).__name__) from error
    if widths not in (None, record.get('widths')):
        raise ValueError(f'{file} holds weights of other widths than widths.json: export the network of this folder.')
    if facts.get('sha256', '') not in ('', hashlib.sha256(content[start:]).hexdigest()):
        raise _damaged(file, 'its checksum does not match its content')
    return state


def read_tensors(folder: Path, name: str, record: Mapping[str, Any]) -> Any:
    """Return what a file of ``torch.save`` holds, if it has the checksum of the record."""
    file = folder / name
    if hashlib.sha256(_content(file)).hexdigest() != record['files'].get(name):
        raise _damaged(file, 'its checksum is not the one in widths.json')
    try:
        return torch.load(file, map_location='cpu', weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, OSError, pickle.UnpicklingError) as error:
        raise _damaged(file, type(error).__name__) from error


def _content(file: Path) -> bytes:
    if not file.is_file():
        raise FileNotFoundError(f'{file.parent} has no {file.name}: give the folder that save_slim wrote.')
    return file.read_bytes()


def _damaged(file: Path, why: str) -> ValueError:
    return ValueError(f'{file} is damaged ({why}): copy it again, or save the network again.')
