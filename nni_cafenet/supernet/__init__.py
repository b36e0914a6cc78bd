"""From a width space to a trained supernet.

In the order of the work: ``sharing`` (the channel sets of a width), ``data`` (training data and its held-out part),
``width_sampling``, ``min_step`` (the best of several channel sets) with ``side_effects`` and ``graph_memory``,
``lightning_module`` (the training), ``checkpoint``, and ``bn_statistics`` (running statistics of one width).
"""

from .bilateral import Bilateral
from .bn_statistics import estimate_statistics
from .checkpoint import RestoreRandomState, SaveEveryEpoch, batches_begun, has_ended, restore
from .combination import Combination, SoftMin
from .data import TrainingData, each_batch
from .data_state import preserved_data_state
from .divergence import AlphaDivergence, Divergence
from .evaluator import check_evaluator, to_device, training_loader, validation_loader, with_data
from .lightning_module import MinMinModule, loss_of
from .min_step import LogCalls
from .plain_checkpoint import read_checkpoint
from .sharing import Fixed, LocallyFree, Sharing
from .side_effects import SideEffects
from .training_options import TrainingOptions
from .weight_average import ValidatedAverage, WeightAverage, put_average
from .width_sampling import Sandwich, UniformWidths, WidthSampling, uniform_widths

__all__ = [
    'AlphaDivergence',
    'Bilateral',
    'Combination',
    'Divergence',
    'Fixed',
    'LocallyFree',
    'LogCalls',
    'MinMinModule',
    'RestoreRandomState',
    'Sandwich',
    'SaveEveryEpoch',
    'Sharing',
    'SideEffects',
    'SoftMin',
    'TrainingData',
    'TrainingOptions',
    'UniformWidths',
    'ValidatedAverage',
    'WeightAverage',
    'WidthSampling',
    'batches_begun',
    'check_evaluator',
    'each_batch',
    'estimate_statistics',
    'has_ended',
    'loss_of',
    'preserved_data_state',
    'put_average',
    'read_checkpoint',
    'restore',
    'to_device',
    'training_loader',
    'uniform_widths',
    'validation_loader',
    'with_data',
]
