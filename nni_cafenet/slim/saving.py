"""Save slim models with checksums and reference outputs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..graph import ExampleInput
from ..utils import contained_numbers, json_text, pass_on, save_torch, write_record
from .files import SIZES, PathLike, may_follow_width, outputs_agree, summarize_outputs

__all__ = ['save_slim']

_MOST_VALUES = 1024
"""Largest floating-point input that is saved by value; larger ones are drawn from a seed."""


def save_slim(
    slim: nn.Module, path: PathLike, widths: Mapping[str, int], *, example_input: Any = None, **facts: Any
) -> None:
    """Write a slim model into a folder.

    ``slim.pt`` contains the ``state_dict``; ``widths.json`` the widths, ``facts``, integer attributes of modules
    (``groups``, ``embed_dim``), also those in dicts, dataclasses and other containers, checksums, and outputs on a seeded
    input; ``buffers.pt`` tensors outside of the ``state_dict``, if any. `load_slim` rebuilds the model from these and the
    full model's factory.

    Parameters
    ----------
    slim
        The slim model.
    path
        The folder, created if missing. Files are replaced atomically.
    widths
        ``{label: channels}``.
    example_input
        Arguments of one forward, as for `WidthMutator.mutate`; reference outputs are saved for inputs of these shapes.
        None: no reference outputs.
    facts
        Further entries of ``widths.json``, such as ``macs=...``.

    Raises
    ------
    TypeError
        If a fact has no JSON form. Nothing is written.
    nni_cafenet.errors.FolderError
        If a file in the folder is a link to another folder.
    """
    folder = Path(path)
    record = {
        'format': 1,
        'widths': dict(widths),
        **facts,
        'modules': _whole_numbers(slim),
        'contained': _contained_numbers(slim),
        'settings': _settings(slim),
        'check': _check(slim, example_input),
    }
    json_text(record)  # fails before any file is replaced
    others, unset = _other_tensors(slim)
    files = {'slim.pt': _save_with_checksum(folder / 'slim.pt', slim.state_dict())}
    if others:
        files['buffers.pt'] = _save_with_checksum(folder / 'buffers.pt', others)
    write_record(folder / 'widths.json', {**record, 'unset': unset, 'files': files})
    if not others:
        with suppress(FileNotFoundError):
            (folder / 'buffers.pt').unlink()


def _save_with_checksum(path: Path, tensors: Any) -> str:
    """Save tensors and return the file's checksum."""
    save_torch(tensors, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _whole_numbers(slim: nn.Module) -> dict[str, dict[str, Any]]:
    """Return integer attributes of modules, such as sizes."""
    found = {}
    for name, module in slim.named_modules():
        sizes = {
            key: value for key, value in vars(module).items() if _is_number(value) and may_follow_width(module, key)
        }
        others = {key: getattr(module, key, None) for key in SIZES if key not in sizes and key in vars(module)}
        sizes.update((key, value) for key, value in others.items() if _is_number(value))
        if sizes:
            found[name] = sizes
    return found


def _contained_numbers(slim: nn.Module) -> dict[str, list[list[Any]]]:
    """Return whole numbers in containers of modules of the user's classes, ``{module: [[attribute, *keys, number]]}``."""
    found = {}
    for path, module in slim.named_modules():
        of_torch = type(module).__module__.startswith('torch.')
        numbers = [
            [name, *keys, value if isinstance(value, int) else list(value)]
            for name, container in vars(module).items()
            if not of_torch and not name.startswith('_') and not _is_number(container)
            for keys, value in contained_numbers(container)
        ]
        if numbers:
            found[path] = numbers
    return found


def _settings(slim: nn.Module) -> dict[str, dict[str, Any]]:
    """Return width-independent attributes of torch's own modules, such as ``eps``."""
    found = {}
    for name, module in slim.named_modules():
        if type(module).__module__.startswith('torch.'):
            values = {
                key: value
                for key, value in vars(module).items()
                if type(value) in (bool, float, str) and key != 'training' and not key.startswith('_')
            }
            if values:
                found[name] = values
    return found


def _is_number(value: Any) -> bool:
    """Whether a value is an int, or a tuple, a list or a size of ints."""
    return type(value) is int or (
        type(value) in (tuple, list, torch.Size) and {type(number) for number in value} == {int}
    )


def _other_tensors(slim: nn.Module) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return tensors outside of the ``state_dict``, and names of buffers that are None."""
    found, unset = dict[str, torch.Tensor](), list[str]()
    for path, module in slim.named_modules():
        own: dict[str, Any] = {
            leaf: buffer
            for leaf, buffer in module._buffers.items()
            if buffer is None or leaf in module._non_persistent_buffers_set
        }
        own.update((leaf, value) for leaf, value in vars(module).items() if type(value) is torch.Tensor)
        for leaf, value in own.items():
            name = f'{path}.{leaf}' if path else leaf
            if value is None:
                unset.append(name)
            else:
                found[name] = value.detach()
    return found, unset


def _check(slim: nn.Module, example_input: Any) -> dict[str, Any] | None:
    """Return an input and reference outputs; None if the model fails or is not deterministic."""
    if example_input is None:
        return None
    try:
        copied = copy.deepcopy(slim)
        example = ExampleInput.of(example_input, copied)
        inputs = [_described(example.args), _described(example.kwargs)]
        outputs = summarize_outputs(copied, inputs)
        again = summarize_outputs(copied, inputs)
    except Exception as error:  # noqa: BLE001  whatever a forward raises, such as where the CPU lacks an operator
        pass_on(error, memory=False)
        return None
    return {'inputs': inputs, 'outputs': outputs} if outputs_agree(again, outputs) else None


def _described(value: Any) -> Any:
    """Describe an input for JSON; raises TypeError."""
    if isinstance(value, torch.Tensor):
        record = {'shape': list(value.shape), 'dtype': str(value.dtype).rpartition('.')[2]}
        if not value.is_floating_point() and value.numel() > 64 * _MOST_VALUES:
            raise TypeError('many whole numbers')  # drawn ones need not be valid indices
        if value.numel() <= _MOST_VALUES or not value.is_floating_point():
            record['values'] = value.detach().cpu().flatten().tolist()
        return record
    if type(value) is tuple:
        return {'tuple': [_described(each) for each in value]}
    if type(value) is list:
        return [_described(each) for each in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {'dict': {key: _described(each) for key, each in value.items()}}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f'{type(value).__name__} has no description')
