"""Outputs of a model on a seeded input, compared with the saved ones."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ['build_input', 'check_outputs', 'outputs_agree', 'summarize_outputs']


def check_outputs(model: nn.Module, check: Mapping[str, Any], folder: Path) -> None:
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
