"""Width search under a budget: sampling, searchers, scores and history."""

from .budget import Budget, IntArray
from .cost_sampling import CostBins, NearBudget
from .evolution import Evolution
from .filling import FULL, filled, is_full
from .headroom import Headroom, headroom_of
from .history import History, Scored, WidthsKey, better_when_higher, widths_key
from .knapsack import Knapsack
from .logged_means import Logged, Mean, batch_size
from .loop import search_widths
from .pareto import pareto_front
from .sampling import LevelSpace, move_within, new_rows, sample_levels, sample_within
from .score_steps import loss_step
from .scorer import Scorer
from .searcher import Proposals, RandomSearch, Searcher
from .uniform import uniform_levels, uniform_within

__all__ = [
    'FULL',
    'Budget',
    'CostBins',
    'Evolution',
    'Headroom',
    'History',
    'IntArray',
    'Knapsack',
    'LevelSpace',
    'Logged',
    'Mean',
    'NearBudget',
    'Proposals',
    'RandomSearch',
    'Scored',
    'Scorer',
    'Searcher',
    'WidthsKey',
    'batch_size',
    'better_when_higher',
    'filled',
    'headroom_of',
    'is_full',
    'loss_step',
    'move_within',
    'new_rows',
    'pareto_front',
    'sample_levels',
    'sample_within',
    'search_widths',
    'uniform_levels',
    'uniform_within',
    'widths_key',
]
