"""Whether a model is the one that saved files belong to: names, shapes, settings, and sizes beside weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ['mismatches', 'wrong_sizes']


def mismatches(
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


def wrong_sizes(model: nn.Module) -> Iterator[str]:
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
