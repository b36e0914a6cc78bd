"""The NNI strategies: CafeNet, its equal-compute rival, and budgets for the multi-trial strategies of NNI."""

from .cafenet import CafeNet
from .left_open import LeftOpen
from .result import RunResult
from .short_trainings import ShortTrainings
from .within_budget import WithinBudget

__all__ = ['CafeNet', 'LeftOpen', 'RunResult', 'ShortTrainings', 'WithinBudget']
