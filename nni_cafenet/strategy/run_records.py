"""Fingerprints of what the stages of a run depend on: budgets and finalists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..options import FinalistOptions
from ..search import Budget
from ..stages import StageContext

__all__ = ['budgets_record', 'finalists_record']


def budgets_record(budgets: Sequence[Budget], *, several: bool) -> dict[str, Any]:
    """Return the limits of the budgets, and the latency table."""
    limits = [dict(budget.limits) for budget in budgets]
    table = next((budget.table for budget in budgets if budget.table is not None), None)
    return {
        'budget': limits if several else limits[0],
        **({} if table is None else {'latency': table.fingerprint()}),
    }


def finalists_record(options: FinalistOptions, context: StageContext) -> dict[str, Any]:
    """Return what the choice and the trainings of finalists depend on besides the search."""
    training = context.training_record() if options.trainings else {}
    if not options.number:
        return {'finalists': 0}
    return {
        'finalists': options.number,
        'baseline': options.baseline,
        'metric': options.metric,
        'metric_higher_is_better': options.higher_is_better,
        'finalist_halving': None if options.halving is None else repr(options.halving),
        **training,
    }
