"""Prune a trained model under a budget."""

from .box_precision import BoxPrecision
from .checks import check_score, task_of
from .group_sensitivity import Sensitivity, sensitivity
from .losses import LOSSES, main_output
from .nni_pruner import CafeNetPruner
from .prune_model import prune
from .pruned import Pruned, PrunedFamily
from .recipe_evaluator import training_evaluator
from .trainer_options import TrainerOptions
from .training import SILENT, Recipes, task_evaluator

__all__ = [
    'LOSSES',
    'SILENT',
    'BoxPrecision',
    'CafeNetPruner',
    'Pruned',
    'PrunedFamily',
    'Recipes',
    'Sensitivity',
    'TrainerOptions',
    'check_score',
    'main_output',
    'prune',
    'sensitivity',
    'task_evaluator',
    'task_of',
    'training_evaluator',
]
