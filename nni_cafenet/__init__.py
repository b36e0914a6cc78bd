"""Network width search with CafeNet, as a plugin of NNI.

The names are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .analysis.rules import register_layer, register_rule
    from .channel_importance.reorder import order_channels, permute_channels
    from .channel_importance.score import importance
    from .export.onnx_file import export_onnx
    from .export.torchscript_file import export_torchscript
    from .graph.example_input import ExampleInput
    from .latency.clock import time_model
    from .latency.table import LatencyTable
    from .nni_compat.serialization.constructor_record import traced
    from .nni_compat.serialization.stored_tensors import factory_of, traced_tensors
    from .pruning.nni_pruner.pruner import CafeNetPruner
    from .pruning.prune import prune
    from .pruning.pruned import Pruned, PrunedFamily
    from .report.inspection import inspect_space
    from .search.cost_sampling import CostBins, NearBudget
    from .search.evolution import Evolution
    from .search.halving import Halving
    from .search.searcher import RandomSearch
    from .slim.files import load_slim
    from .slim.saving import save_slim
    from .space.bins import EqualBins, FlopsSensitiveBins
    from .space.mutator import WidthMutator
    from .space.width_space import WidthSpace
    from .strategy.cafenet import CafeNet
    from .strategy.short_trainings import ShortTrainings
    from .strategy.within_budget import WithinBudget
    from .supernet.bilateral import Bilateral
    from .supernet.combination import SoftMin
    from .supernet.divergence import AlphaDivergence
    from .supernet.sharing import Fixed, LocallyFree
    from .supernet.width_sampling import Sandwich, UniformWidths
    from .trials.transfer import check_travels

_HOMES = {
    'AlphaDivergence': 'supernet.divergence',
    'Bilateral': 'supernet.bilateral',
    'CafeNet': 'strategy.cafenet',
    'CafeNetPruner': 'pruning.nni_pruner.pruner',
    'CostBins': 'search.cost_sampling',
    'EqualBins': 'space.bins',
    'Evolution': 'search.evolution',
    'ExampleInput': 'graph.example_input',
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
    'ShortTrainings': 'strategy.short_trainings',
    'SoftMin': 'supernet.combination',
    'UniformWidths': 'supernet.width_sampling',
    'WidthMutator': 'space.mutator',
    'WidthSpace': 'space.width_space',
    'WithinBudget': 'strategy.within_budget',
    'check_travels': 'trials.transfer',
    'export_onnx': 'export.onnx_file',
    'export_torchscript': 'export.torchscript_file',
    'factory_of': 'nni_compat.serialization.stored_tensors',
    'importance': 'channel_importance.score',
    'inspect_space': 'report.inspection',
    'load_slim': 'slim.files',
    'order_channels': 'channel_importance.reorder',
    'permute_channels': 'channel_importance.reorder',
    'prune': 'pruning.prune',
    'register_layer': 'analysis.rules',
    'register_rule': 'analysis.rules',
    'save_slim': 'slim.saving',
    'time_model': 'latency.clock',
    'traced': 'nni_compat.serialization.constructor_record',
    'traced_tensors': 'nni_compat.serialization.stored_tensors',
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
