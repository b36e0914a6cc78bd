"""The row of Torch-Pruning: every group pruned to half of its channels, by magnitude.

The tool is used as its documentation shows, the same for every model: the last layers are ignored, and the heads of
``nn.MultiheadAttention`` are named. What it removed is found by replaying its history of prunings on a twin whose
parameters hold their own positions; the full model with zeros there must then compute what the pruned model does.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any

import torch
import torch_pruning
from torch import nn

from .measures import distance, first_line, peak_memory, run, run_counted, stopwatch, time_limit
from .models import Case

_MIXES_CHANNELS = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.MultiheadAttention)
_TOLERANCE = 1e-9


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Prune a model and check it; return its row.

    The verdict is *exact*: the outputs of the pruned model are those of the full one with zeros; *runs*: they have the
    right shape, but layers that mix channels (layer normalization, attention) let zeros tell no more; *eval only*: as
    one of these, but in training mode the pruned model fails; *wrong*: they differ.
    """
    model = case.make()
    _, full_macs = run_counted(model, case.arguments())
    before = peak_memory()
    with time_limit(seconds), stopwatch() as watch:
        pruner = _pruner(model, case)
        pruner.step()
    growth = peak_memory() - before
    history = pruner.pruning_history()
    row = {
        'tool_version': version('torch-pruning'),
        'groups': len(history),
        'macs': full_macs,
        **watch.row(),
        'memory': round(before),
        'memory_growth': round(growth),
    }
    model.eval().double()
    del pruner
    arguments = case.arguments(dtype=torch.float64)
    output, macs = run_counted(model, arguments)
    row['macs_at_half'] = macs / full_macs
    full = case.make().double()
    shapes = [tensor.shape for tensor in run(full, arguments)]
    if case.family != 'detection' and [tensor.shape for tensor in output] != shapes:
        return {**row, 'verdict': 'wrong', 'why': 'the output has another shape'}
    try:
        kept = _kept_positions(case, history)
        _zero_all_but(full, kept)
        error = distance(output, run(full, arguments))
    except Exception as problem:  # noqa: BLE001 - the replay is the tool's own and may fail where the pruning did not
        error, row['why'] = math.inf, f'not compared, {first_line(problem)}'
    mixes = any(isinstance(module, _MIXES_CHANNELS) for module in full.modules())
    if error < _TOLERANCE:
        verdict = 'exact'
    elif mixes or 'why' in row:
        verdict = 'runs'
    else:
        verdict, row['why'] = 'wrong', 'outputs differ from those of the full model with zeros'
    return {**row, 'error': error, 'verdict': verdict, **_in_training(model, case, verdict)}


def _pruner(model: nn.Module, case: Case) -> Any:
    last = [
        module
        for module in model.modules()
        if getattr(module, 'out_features', getattr(module, 'out_channels', None)) == case.classes
    ]
    heads = {module: module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    return torch_pruning.pruner.MagnitudePruner(
        model,
        case.arguments(),
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.5,
        ignored_layers=last,
        num_heads=heads,
        in_channel_groups={},
        out_channel_groups={},
    )


def _kept_positions(case: Case, history: Any) -> dict[str, torch.Tensor]:
    """Return, for every parameter, the positions in the full one that its entries come from."""
    twin = case.make()
    pruner = _pruner(twin, case)
    for parameter in twin.parameters():
        parameter.data = torch.arange(parameter.numel(), dtype=torch.float64).view(parameter.shape)
    pruner.load_pruning_history(history)
    return {name: parameter.data.long().flatten() for name, parameter in twin.named_parameters()}


def _zero_all_but(model: nn.Module, kept: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            masked = torch.zeros(parameter.numel(), dtype=parameter.dtype)
            masked[kept[name]] = parameter.flatten()[kept[name]]
            parameter.copy_(masked.view(parameter.shape))


def _in_training(model: nn.Module, case: Case, verdict: str) -> dict[str, str]:
    try:
        run(model.train(), case.arguments(training=True, dtype=torch.float64))
    except Exception as error:  # noqa: BLE001 - any error is the finding
        return {'verdict': 'eval only', 'why': first_line(error)} if verdict in ('exact', 'runs') else {}
    return {}


def warm_up() -> None:
    """Prune a tiny model, so that what is imported on the first use costs no model its seconds."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    importance = torch_pruning.importance.MagnitudeImportance(p=1)
    torch_pruning.pruner.MagnitudePruner(model, torch.zeros(1, 3, 4, 4), importance=importance).step()
