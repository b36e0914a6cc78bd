"""Options of a run: typed records with defaults, allowed values and help texts, checked in one place; free of torch."""

from .budget_spec import COSTS, BudgetSpec, BudgetSpecs, CostLimit
from .data import DataOptions, SpaceOptions
from .finalists import FinalistOptions
from .halving import Halving, epochs_text, halve
from .kinds import Kind, budgets, choice, flag, is_list, number_of, text, whole_number
from .recipe import TrainingRecipe
from .record import Option, Record, option
from .search import SearchOptions
from .step_cost import FORWARDS_PER_BACKWARD
from .supernet import ScoreOptions, SupernetOptions
from .training import RecipeOptions

__all__ = [
    'COSTS',
    'FORWARDS_PER_BACKWARD',
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
    'TrainingRecipe',
    'budgets',
    'choice',
    'epochs_text',
    'flag',
    'halve',
    'is_list',
    'number_of',
    'option',
    'text',
    'whole_number',
]
