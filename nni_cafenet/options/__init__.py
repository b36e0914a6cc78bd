"""What a run is asked for, as records that are checked in one place; free of torch."""

from . import kinds as kinds
from .budget_spec import COSTS, BudgetSpec, BudgetSpecs, CostLimit
from .data import DataOptions, SpaceOptions
from .finalists import FinalistOptions
from .halving import Halving, epochs_text, halve
from .kinds import Kind, is_list, number_of
from .record import Option, Record, option
from .search import SearchOptions
from .supernet import ScoreOptions, SupernetOptions
from .training import RecipeOptions

__all__ = [
    'COSTS',
    'BudgetSpec',
    'BudgetSpecs',
    'CostLimit',
    'DataOptions',
    'FinalistOptions',
    'Halving',
    'Kind',
    'Option',
    'RecipeOptions',
    'Record',
    'ScoreOptions',
    'SearchOptions',
    'SpaceOptions',
    'SupernetOptions',
    'epochs_text',
    'halve',
    'is_list',
    'number_of',
    'option',
]
