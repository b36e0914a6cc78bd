"""Network width search with CafeNet, as a plugin of NNI.

The names are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .channels.inputs import ExampleInput
    from .channels.rules import register_layer, register_rule
    from .export.onnx_file import export_onnx
    from .export.torchscript_file import export_torchscript
    from .inspection import inspect_space
    from .latency.clock import time_model
    from .latency.table import LatencyTable
    from .pruning.prune import prune
    from .pruning.pruned import Pruned, PrunedFamily
    from .pruning.pruner import CafeNetPruner
    from .search.cost_sampling import CostBins, NearBudget
    from .search.evolution import Evolution
    from .search.halving import Halving
    from .search.searcher import RandomSearch
    from .short_trainings import ShortTrainings
    from .space.bins import EqualBins, FlopsSensitiveBins
    from .space.importance import importance
    from .space.mutator import WidthMutator
    from .space.ordering import order_channels, permute_channels
    from .space.slim_files import load_slim
    from .space.slim_saving import save_slim
    from .space.width_space import WidthSpace
    from .strategy import CafeNet
    from .supernet.bilateral import Bilateral
    from .supernet.combination import SoftMin
    from .supernet.divergence import AlphaDivergence
    from .supernet.sharing import Fixed, LocallyFree
    from .supernet.width_sampling import Sandwich, UniformWidths
    from .travel.recipes import traced
    from .travel.stored import factory_of, traced_tensors
    from .trials.travels import check_travels
    from .within_budget import WithinBudget

_HOMES = {
    'AlphaDivergence': 'supernet.divergence',
    'Bilateral': 'supernet.bilateral',
    'CafeNet': 'strategy',
    'CafeNetPruner': 'pruning.pruner',
    'CostBins': 'search.cost_sampling',
    'EqualBins': 'space.bins',
    'Evolution': 'search.evolution',
    'ExampleInput': 'channels.inputs',
    'Fixed': 'supernet.sharing',
    'FlopsSensitiveBins': 'space.bins',
    'Halving': 'search.halving',
    'LatencyTable': 'latency.table',
    'LocallyFree': 'supernet.sharing',
    'NearBudget': 'search.cost_sampling',
    'Pruned': 'pruning.pruned',
    'PrunedFamily': 'pruning.pruned',
    'RandomSearch': 'search.searcher',
    'Sandwich': 'supernet.width_sampling',
    'ShortTrainings': 'short_trainings',
    'SoftMin': 'supernet.combination',
    'UniformWidths': 'supernet.width_sampling',
    'WidthMutator': 'space.mutator',
    'WidthSpace': 'space.width_space',
    'WithinBudget': 'within_budget',
    'check_travels': 'trials.travels',
    'export_onnx': 'export.onnx_file',
    'export_torchscript': 'export.torchscript_file',
    'factory_of': 'travel.stored',
    'importance': 'space.importance',
    'inspect_space': 'inspection',
    'load_slim': 'space.slim_files',
    'order_channels': 'space.ordering',
    'permute_channels': 'space.ordering',
    'prune': 'pruning.prune',
    'register_layer': 'channels.rules',
    'register_rule': 'channels.rules',
    'save_slim': 'space.slim_saving',
    'time_model': 'latency.clock',
    'traced': 'travel.recipes',
    'traced_tensors': 'travel.stored',
}

__all__ = [
    'AlphaDivergence',
    'Bilateral',
    'CafeNet',
    'CafeNetPruner',
    'CostBins',
    'EqualBins',
    'Evolution',
    'ExampleInput',
    'Fixed',
    'FlopsSensitiveBins',
    'Halving',
    'LatencyTable',
    'LocallyFree',
    'NearBudget',
    'Pruned',
    'PrunedFamily',
    'RandomSearch',
    'Sandwich',
    'ShortTrainings',
    'SoftMin',
    'UniformWidths',
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
