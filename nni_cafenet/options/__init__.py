"""What a run is asked for, as records that are checked once; free of torch."""

from .budget_spec import COSTS, BudgetSpec, BudgetSpecs, CostLimit
from .halving import Halving, epochs_text, halve

__all__ = ['COSTS', 'BudgetSpec', 'BudgetSpecs', 'CostLimit', 'Halving', 'epochs_text', 'halve']
