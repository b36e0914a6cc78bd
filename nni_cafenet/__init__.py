"""Network width search with CafeNet, as a plugin of NNI.

The names are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .channels.rules import register_layer, register_rule
    from .export.onnx_file import export_onnx
    from .export.torchscript_file import export_torchscript
    from .inspection import inspect_space
    from .latency.clock import time_model
    from .latency.table import LatencyTable
    from .pruning.prune import prune
    from .pruning.pruned import Pruned, PrunedFamily
    from .pruning.pruner import CafeNetPruner
    from .search.evolution import Evolution
    from .search.halving import Halving
    from .search.searcher import RandomSearch
    from .short_trainings import ShortTrainings
    from .space.bins import EqualBins, FlopsSensitiveBins
    from .space.importance import importance
    from .space.mutator import WidthMutator
    from .space.ordering import order_channels, permute_channels
    from .space.slim_files import load_slim, save_slim
    from .space.width_space import WidthSpace
    from .strategy import CafeNet
    from .supernet.bilateral import Bilateral
    from .supernet.sharing import Fixed, LocallyFree
    from .travel.recipes import traced
    from .travel.stored import factory_of, traced_tensors
    from .trials.travels import check_travels
    from .within_budget import WithinBudget

_HOMES = {
    'Bilateral': 'supernet.bilateral',
    'CafeNet': 'strategy',
    'CafeNetPruner': 'pruning.pruner',
    'EqualBins': 'space.bins',
    'Evolution': 'search.evolution',
    'Fixed': 'supernet.sharing',
    'FlopsSensitiveBins': 'space.bins',
    'Halving': 'search.halving',
    'LatencyTable': 'latency.table',
    'LocallyFree': 'supernet.sharing',
    'Pruned': 'pruning.pruned',
    'PrunedFamily': 'pruning.pruned',
    'RandomSearch': 'search.searcher',
    'ShortTrainings': 'short_trainings',
    'WidthMutator': 'space.mutator',
    'WidthSpace': 'space.width_space',
    'check_travels': 'trials.travels',
    'export_onnx': 'export.onnx_file',
    'export_torchscript': 'export.torchscript_file',
    'factory_of': 'travel.stored',
    'WithinBudget': 'within_budget',
    'importance': 'space.importance',
    'inspect_space': 'inspection',
    'load_slim': 'space.slim_files',
    'order_channels': 'space.ordering',
    'permute_channels': 'space.ordering',
    'prune': 'pruning.prune',
    'register_layer': 'channels.rules',
    'register_rule': 'channels.rules',
    'save_slim': 'space.slim_files',
    'time_model': 'latency.clock',
    'traced': 'travel.recipes',
    'traced_tensors': 'travel.stored',
}

__all__ = [
    'Bilateral',
    'CafeNet',
    'CafeNetPruner',
    'EqualBins',
    'Evolution',
    'Fixed',
    'FlopsSensitiveBins',
    'Halving',
    'LatencyTable',
    'LocallyFree',
    'Pruned',
    'PrunedFamily',
    'RandomSearch',
    'ShortTrainings',
    'WidthMutator',
    'WidthSpace',
    'WithinBudget',
    '__version__',
    'check_travels',
    'export_onnx',
    'export_torchscript',
    'factory_of',
    'importance',
    'inspect_space',
    'load_slim',
    'order_channels',
    'permute_channels',
    'prune',
    'register_layer',
    'register_rule',
    'save_slim',
    'time_model',
    'traced',
    'traced_tensors',
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
