"""Network width search with CafeNet, as a plugin of NNI.

The names are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ._doors import lazy_names
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .analysis import register_layer as register_layer, register_rule as register_rule
    from .channel_importance import (
        importance as importance,
        order_channels as order_channels,
        permute_channels as permute_channels,
    )
    from .export import export_onnx as export_onnx, export_torchscript as export_torchscript
    from .graph import ExampleInput as ExampleInput
    from .latency import LatencyTable as LatencyTable, time_model as time_model
    from .nni_compat import factory_of as factory_of, traced as traced, traced_tensors as traced_tensors
    from .options import Halving as Halving, TrainingRecipe as TrainingRecipe
    from .pruning import (
        CafeNetPruner as CafeNetPruner,
        Pruned as Pruned,
        PrunedFamily as PrunedFamily,
        Sensitivity as Sensitivity,
        prune as prune,
        sensitivity as sensitivity,
        training_evaluator as training_evaluator,
    )
    from .report import inspect_space as inspect_space
    from .search import (
        CostBins as CostBins,
        Evolution as Evolution,
        Knapsack as Knapsack,
        NearBudget as NearBudget,
        RandomSearch as RandomSearch,
    )
    from .slim import load_slim as load_slim, save_slim as save_slim
    from .space import (
        EqualBins as EqualBins,
        FlopsSensitiveBins as FlopsSensitiveBins,
        WidthMutator as WidthMutator,
        WidthSpace as WidthSpace,
    )
    from .strategy import (
        CafeNet as CafeNet,
        RunResult as RunResult,
        ShortTrainings as ShortTrainings,
        WithinBudget as WithinBudget,
    )
    from .supernet import (
        AlphaDivergence as AlphaDivergence,
        Bilateral as Bilateral,
        Fixed as Fixed,
        LocallyFree as LocallyFree,
        Sandwich as Sandwich,
        SoftMin as SoftMin,
        UniformWidths as UniformWidths,
    )
    from .trials import check_serializable as check_serializable

# NNI warns, whenever it is imported, about every class in torch.nn that is newer than itself.
warnings.filterwarnings('ignore', message='.* is found to be not a nn.Module', category=RuntimeWarning)

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
__all__ += ['__version__']
