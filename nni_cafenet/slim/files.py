"""Load slim models from disk with torch alone.

This file imports nothing of the package, so that it can be copied next to a deployed model.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ['load_slim']

PathLike = str | os.PathLike[str]

SIZES = (
    *('in_channels', 'out_channels', 'groups', 'in_features', 'out_features', 'in1_features', 'in2_features'),
    *('num_features', 'num_channels', 'num_groups', 'normalized_shape', 'num_embeddings', 'embedding_dim'),
    *('num_parameters', 'embed_dim', 'kdim', 'vdim', 'num_heads', 'head_dim', 'input_size', 'hidden_size', 'proj_size'),
    'unflattened_size',
)
"""Attributes of torch's own modules that may depend on widths."""

_OF_EVERY_MODULE = frozenset(vars(nn.Module())) | frozenset(dir(nn.Module))


def load_slim(
    factory: Callable[[], nn.Module] | nn.Module, path: PathLike, *, weights: bool = True, check: bool = True
) -> nn.Module:
    """Rebuild a saved slim model and verify it. No code from the files runs.

    Parameters
    ----------
    factory
        A factory of the full model, or a full model (which is modified).
    path
        The folder that `save_slim` wrote. In place of ``slim.pt`` it may hold ``slim.safetensors``, as ``nni-cafenet export
        --safetensors`` writes it; that needs the package ``safetensors``.
    weights
        Load the weights; otherwise parameters are uninitialized.
    check
        Compare the outputs on a seeded input to the saved ones (one forward on the CPU). Checksums are always verified.

    Returns
    -------
    The slim model, on the CPU: plain modules of the model's own classes.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the files.
    ImportError
        If the weights are in ``slim.safetensors``, and ``safetensors`` is not installed.
    ValueError
        If a file is damaged, the files belong to another model, or the outputs differ; the message lists differences.
    """
    folder = Path(path)
    record = _record(folder)
    state = _weights(folder, record)
    others = _tensors(folder, 'buffers.pt', record) if 'buffers.pt' in record['files'] else {}
    model = factory if isinstance(factory, nn.Module) else factory()
    problems = [
        *_mismatches(model, state, record, others),
        *_attributes(model, record, state, change=False),
        *_contained(model, record, change=False),
    ]
    if problems:
        more = f' and {len(problems) - 5} more' if len(problems) > 5 else ''
        raise ValueError(
            f'The widths in {folder} belong to another model than {type(model).__name__}: {"; ".join(problems[:5])}{more}. '
            'Give the factory (and its arguments) of the original model.'
        )
    list(_attributes(model, record, state, change=True))
    list(_contained(model, record, change=True))
    for tensors in ('_parameters', '_buffers'):
        _resize(model, state, tensors)
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module._apply(lambda tensor: tensor)  # recurrent layers keep a list of their weights
    _assign_other_tensors(model, others, record.get('unset', []))
    wrong = next(_wrong_sizes(model), None)
    if wrong is not None:
        raise ValueError(
            f'{folder / "widths.json"} does not match the weights beside it: {wrong}. Save the network again.'
        )
    if weights:
        model.load_state_dict(state)
        if check and record.get('check') is not None:
            _check_outputs(model, record['check'], folder)
    return model


# --- the files ------------------------------------------------------------------------------------


def _record(folder: Path) -> dict[str, Any]:
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


def _weights(folder: Path, record: Mapping[str, Any]) -> Any:
    if not (folder / 'slim.pt').is_file() and (folder / 'slim.safetensors').is_file():
        return _safe_tensors(folder / 'slim.safetensors', record)
    return _tensors(folder, 'slim.pt', record)


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


def _tensors(folder: Path, name: str, record: Mapping[str, Any]) -> Any:
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


# --- the model ------------------------------------------------------------------------------------


def _mismatches(
    model: nn.Module, state: Mapping[str, Any], record: Mapping[str, Any], others: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the differences between the model and the files."""
    own, modules = model.state_dict(), dict(model.named_modules(remove_duplicate=False))
    yield from (f'{name} is only in the model' for name in own if name not in state)
    yield from (f'{name} is only in the files' for name in state if name not in own)
    yield from (f'{name} has no module in the model' for name in record['modules'] if name not in modules)
    for name, tensor in own.items():
        if isinstance(tensor, torch.Tensor) and name in state:
            full, small = tuple(tensor.shape), tuple(state[name].shape)
            if len(full) != len(small) or any(s > f for f, s in zip(full, small)):
                yield f'{name} is {small} in the files and {full} in the model'
    for name in [*others, *record.get('unset', [])]:
        path, _, leaf = name.rpartition('.')
        if path not in modules:
            yield f'{name} has no module in the model'
        elif not _can_hold_tensor(modules[path], leaf):
            yield f'{name} is a tensor in the files and none in the model'
    for path, settings in record.get('settings', {}).items():
        for key, value in settings.items():
            here = vars(modules[path]).get(key, value) if path in modules else value
            if here != value and not (here != here and value != value):
                yield f'{path}.{key} is {value!r} in the files and {here!r} in the model'


def _can_hold_tensor(module: nn.Module, leaf: str) -> bool:
    """Whether a name is, or is free for, a tensor outside of the module's ``state_dict``."""
    if leaf in module._buffers:
        return module._buffers[leaf] is None or leaf in module._non_persistent_buffers_set
    if leaf in vars(module):
        return vars(module)[leaf] is None or type(vars(module)[leaf]) is torch.Tensor
    return leaf.isidentifier() and not leaf.startswith('__') and not hasattr(module, leaf)


def _attributes(
    model: nn.Module, record: Mapping[str, Any], state: Mapping[str, Any], *, change: bool
) -> Iterator[str]:
    """Yield recorded integers that no slim model of this one can have; or, with ``change``, set them."""
    modules, own = dict(model.named_modules()), model.state_dict()
    dims = {size for tensor in own.values() if isinstance(tensor, torch.Tensor) for size in tensor.shape}
    shapes = [
        pair
        for name, tensor in own.items()
        if isinstance(tensor, torch.Tensor) and isinstance(state.get(name), torch.Tensor)
        for pair in zip(tensor.shape, state[name].shape)
    ]
    for path, sizes in record['modules'].items():
        module = modules.get(path)
        for key, value in sizes.items() if module is not None else ():
            now = vars(module).get(key)
            if key.startswith('_') and may_follow_width(module, key) and not _follows(now, value, shapes):
                continue  # not a width, such as a private counter
            if change and isinstance(value, list):
                vars(module)[key] = (
                    torch.Size(value) if isinstance(now, torch.Size) else tuple(value) if type(now) is tuple else value
                )
            elif change and type(now) is int:
                vars(module)[key] = value
            elif not change and not _is_valid_slim_value(module, key, now, value, dims):
                yield f'{path}.{key} is {value!r} in the files and {now!r} in the model'


def _contained(model: nn.Module, record: Mapping[str, Any], *, change: bool) -> Iterator[str]:
    """Do what `_attributes` does for integers in dicts, dataclasses and other containers; changed ones become copies."""
    modules = dict(model.named_modules())
    dims = {size for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor) for size in tensor.shape}
    for path, numbers in record.get('contained', {}).items():
        module = modules.get(path)
        for name, *keys, value in numbers:
            if module is None or name.startswith('_') or name not in vars(module):
                continue
            now = _at(vars(module)[name], keys)
            if type(now) is int if type(value) is int else type(now) in (tuple, list, torch.Size):
                if change:
                    number = value if type(value) is int else type(now)(value)
                    if now != number:
                        module.__dict__[name] = _replaced(vars(module)[name], keys, number)
                elif not _is_valid_slim_value(module, name, now, value, dims):
                    where = ''.join(f'[{key!r}]' for key in keys)
                    yield f'{path}.{name}{where} is {value!r} in the files and {now!r} in the model'


def _at(value: Any, keys: list[Any]) -> Any:
    """Return what keys of dicts, positions of sequences and names of fields lead to; None if there is nothing."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, (tuple, list)):
            value = value[key] if type(key) is int and 0 <= key < len(value) else None
        elif isinstance(value, (type, nn.Module)) or key not in {
            **getattr(value, '__dataclass_fields__', {}),
            **_own(value),
        }:
            return None
        else:
            value = getattr(value, key, None)
    return value


def _own(value: Any) -> dict[str, Any]:
    own = getattr(value, '__dict__', None)
    return own if isinstance(own, dict) else {}


def _replaced(value: Any, keys: list[Any], new: Any) -> Any:
    """Return a value with what keys lead to replaced; containers on the way are copied."""
    if not keys:
        return new
    after = _replaced(_at(value, keys[:1]), keys[1:], new)
    if isinstance(value, (tuple, list)):
        items = [after if position == keys[0] else item for position, item in enumerate(value)]
        return value._make(items) if hasattr(value, '_make') else type(value)(items)
    copied: Any = copy.copy(value)
    if isinstance(copied, dict):
        copied[keys[0]] = after
    else:
        object.__setattr__(copied, keys[0], after)
    return copied


def _is_valid_slim_value(module: Any, key: str, now: Any, value: Any, dims: set[int]) -> bool:
    """Whether an integer of the full model may have ``value`` in a slim one."""
    numbers, others = (list(each) if isinstance(each, (tuple, list)) else [each] for each in (now, value))
    if not may_follow_width(module, key) or {type(each) for each in numbers + others} != {int}:
        return False
    of_torch = type(module).__module__.startswith('torch.')
    if type(now) in (tuple, list) and not of_torch and _may_be_positions(numbers, others):
        return True
    if len(numbers) != len(others):
        return False
    if numbers == others:
        return True
    if of_torch and key not in SIZES:
        return False
    # Sizes never grow; integers that are not sizes, such as counters, may.
    sizes = dims if not of_torch else {*dims, *numbers}
    return all(new == old or 0 < new <= old or (old not in sizes and new >= 0) for old, new in zip(numbers, others))


def _may_be_positions(numbers: list[int], others: list[int]) -> bool:
    """Whether numbers may be positions of channels, and others what is left of them, counted anew."""
    fewer = 0 < len(others) <= len(numbers) and (len(set(numbers)) < len(numbers) or len(set(others)) == len(others))
    return fewer and min(numbers) >= 0 and min(others) >= 0 and max(others) <= max(numbers)


def may_follow_width(module: Any, key: str) -> bool:
    """Whether an attribute may depend on widths; private ones only in the user's classes."""
    if not key.startswith('_'):
        return True
    private = not key.startswith('__') and 'hook' not in key and key not in _OF_EVERY_MODULE
    return private and not type(module).__module__.startswith('torch.') and not hasattr(type(module), key)


def _follows(now: Any, value: Any, shapes: list[tuple[int, int]]) -> bool:
    """Whether integers scale as the size of some dimension, or a fraction of it."""
    numbers, others = (list(each) if type(each) in (tuple, list) else [each] for each in (now, value))
    if len(numbers) != len(others) or {type(each) for each in numbers + others} != {int}:
        return False
    return all(
        new == old or (0 < new < old and any(full % old == 0 and full * new == small * old for full, small in shapes))
        for old, new in zip(numbers, others)
    )


def _wrong_sizes(model: nn.Module) -> Iterator[str]:
    """Yield size attributes of torch's modules that contradict their weights."""
    for path, module in model.named_modules():
        weight: Any = module._parameters.get('weight')
        weight = module._parameters.get('weight_hh', module._parameters.get('weight_hh_l0', weight))
        if weight is None or not type(module).__module__.startswith('torch.'):
            continue
        shape, right = tuple(weight.shape), dict[str, Any]()
        if isinstance(module, nn.modules.conv._ConvNd):
            names = ('in_channels', 'out_channels') if module.transposed else ('out_channels', 'in_channels')
            right = dict(zip(names, (shape[0], shape[1] * module.groups)))
        elif isinstance(module, nn.Linear):
            right = {'out_features': shape[0], 'in_features': shape[1]}
        elif isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm)):
            right = {'num_channels' if isinstance(module, nn.GroupNorm) else 'num_features': shape[0]}
        elif isinstance(module, nn.LayerNorm):
            right = {'normalized_shape': shape}
        elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            right = {'num_embeddings': shape[0], 'embedding_dim': shape[1]}
        elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            right = _recurrent_sizes(module)
        for key, value in right.items():
            if getattr(module, key) != value:
                yield f'{path}.{key} is {getattr(module, key)}, its weight has {value}'


def _recurrent_sizes(module: Any) -> dict[str, int]:
    """Return the sizes of a recurrent layer or cell that its weights show."""
    suffix = '_l0' if isinstance(module, nn.RNNBase) else ''
    of_input, of_last = (module._parameters[f'weight_{each}{suffix}'] for each in ('ih', 'hh'))
    gates = {'LSTM': 4, 'GRU': 3}.get(type(module).__name__.removesuffix('Cell'), 1)
    sizes = {'input_size': of_input.shape[1], 'hidden_size': of_input.shape[0] // gates}
    return {**sizes, 'proj_size': of_last.shape[1]} if getattr(module, 'proj_size', 0) else sizes


def _resize(model: nn.Module, state: Mapping[str, Any], tensors: str) -> None:
    """Replace the parameters or buffers of a model that differ from a state in shape or type; tied ones stay tied."""
    made: dict[int, tuple[Any, Any]] = {}  # {id: (original, replacement)}; keeps originals alive
    for path, module in list(model.named_modules()):
        own = getattr(module, tensors)
        for leaf, tensor in own.items():
            name = f'{path}.{leaf}' if path else leaf
            if tensor is None or name not in state:
                continue
            if (tensor.shape, tensor.dtype) == (state[name].shape, state[name].dtype):
                continue
            if id(tensor) not in made:
                smaller = torch.empty(state[name].shape, dtype=state[name].dtype)
                if isinstance(tensor, nn.Parameter):
                    smaller = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
                made[id(tensor)] = (tensor, smaller)
            own[leaf] = made[id(tensor)][1]


def _assign_other_tensors(model: nn.Module, others: Mapping[str, Any], unset: list[str]) -> None:
    """Assign tensors that are in no ``state_dict``."""
    for name, tensor in {**others, **dict.fromkeys(unset)}.items():
        path, _, leaf = name.rpartition('.')
        module = model.get_submodule(path)
        if leaf in module._buffers or leaf in vars(module):
            (module._buffers if leaf in module._buffers else vars(module))[leaf] = tensor
        elif tensor is not None:
            module.register_buffer(leaf, tensor, persistent=False)


# --- what it computes -----------------------------------------------------------------------------


def _check_outputs(model: nn.Module, check: Mapping[str, Any], folder: Path) -> None:
    """Raise if the outputs differ from the saved ones."""
    try:
        found = summarize_outputs(model, check['inputs'])
    except Exception as error:
        raise ValueError(
            f'The model in {folder} fails to run: {type(error).__name__}: {error}. Use the factory and the code that it '
            'was saved with; or check=False, if it cannot run on this machine.'
        ) from error
    if not outputs_agree(found, check['outputs']):
        raise ValueError(
            f'The outputs of the model in {folder} differ from the saved ones: its code, or values outside of its tensors, '
            'have changed. Use the factory and the code that it was saved with; check=False skips this check.'
        )


def summarize_outputs(model: nn.Module, inputs: Any) -> list[dict[str, Any]]:
    """Summarize a model's outputs in evaluation mode with seeded RNG, one record per tensor."""
    copied = copy.deepcopy(model).cpu().eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        args, kwargs = build_input(inputs)
        return [_described(tensor) for tensor in _tensors_in(copied(*args, **kwargs))]


def outputs_agree(found: list[dict[str, Any]], saved: list[dict[str, Any]]) -> bool:
    """Whether output summaries agree up to rounding differences between machines."""
    if [each['shape'] for each in found] != [each['shape'] for each in saved]:
        return False
    for one, other in zip(found, saved):
        tolerance = (0.05 if '16' in other['dtype'] else 1e-3) * other['largest']
        for a, b in zip(one['values'], other['values']):
            if not (a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance):
                return False
    return True


def build_input(value: Any) -> Any:
    """Rebuild an input from its description in ``widths.json``."""
    if isinstance(value, list):
        return [build_input(each) for each in value]
    if not isinstance(value, dict):
        return value
    if 'tuple' in value:
        return tuple(build_input(each) for each in value['tuple'])
    if 'dict' in value:
        return {key: build_input(each) for key, each in value['dict'].items()}
    dtype = getattr(torch, value['dtype'])
    if 'values' in value:
        return torch.tensor(value['values'], dtype=dtype).reshape(value['shape'])
    return torch.randn(value['shape'], generator=torch.Generator().manual_seed(0)).to(dtype)


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors_in(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors_in(each)
    elif hasattr(value, '__dict__'):
        yield from _tensors_in(vars(value))


def _described(tensor: torch.Tensor) -> dict[str, Any]:
    """Summarize a tensor by shape, up to 16 values and the mean."""
    flat = torch.view_as_real(tensor).flatten() if tensor.is_complex() else tensor.flatten()
    flat = flat.double()
    finite = flat[flat.isfinite()].abs()
    some = flat[torch.linspace(0, max(len(flat) - 1, 0), min(len(flat), 16)).long()]
    mean = finite.mean() if len(finite) else finite.sum()
    return {
        'shape': list(tensor.shape),
        'dtype': str(tensor.dtype).rpartition('.')[2],
        'largest': float(finite.max()) if len(finite) else 0.0,
        'values': [*some.tolist(), float(mean)],
    }
