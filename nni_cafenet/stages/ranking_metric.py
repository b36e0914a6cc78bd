"""The metric that ranks trained networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nni.nas.evaluator.pytorch import LightningModule, SupervisedLearningModule

from ..search import better_when_higher

__all__ = ['Metric']


@dataclass(frozen=True)
class Metric:
    """The metric that ranks trained networks; None: the result reported to NNI, else ``val_loss``.

    An ``inferred`` name comes from the module, so a result reported to NNI also counts.
    """

    name: str | None
    higher_is_better: bool
    inferred: bool = False

    @classmethod
    def of(cls, module: LightningModule, name: str | None, higher_is_better: bool | None) -> Metric:
        """Infer a missing name and direction from the module."""
        inferred = False
        if name is None and isinstance(module, SupervisedLearningModule) and len(module.metrics) == 1:
            inferred, name = True, f'val_{next(iter(module.metrics))}'
        if higher_is_better is None:
            higher_is_better = name is None or better_when_higher(name)
        return cls(name, higher_is_better, inferred)

    def value(self, reported: Any, logged: Mapping[str, float]) -> float | None:
        """Return the metric from the reported and logged results; None if neither contains it."""
        if self.name is not None and self.name in logged:
            return logged[self.name]
        if self.name is not None and not self.inferred:
            found = reported.get(self.name) if isinstance(reported, Mapping) else None
            return None if found is None else float(found)
        if isinstance(reported, Mapping):
            reported = reported.get('default', reported.get(self.name))
        if reported is not None:
            return float(reported)
        return None if self.name is not None else logged.get('val_loss')

    def fitness(self, value: float) -> float:
        """Return a value with its sign set so that higher is better; NaN is worst."""
        return -math.inf if math.isnan(value) else value if self.higher_is_better else -value
