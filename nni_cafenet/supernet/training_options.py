"""Options of the supernet's training; by default as in the paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..options import SupernetOptions
from ..utils import check_instance
from .combination import Combination, Min
from .divergence import AlphaDivergence, Divergence, KLDivergence
from .width_sampling import UniformWidths, WidthSampling

__all__ = ['TrainingOptions']


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the supernet's training, made by `checked`; see `CafeNet` for their meaning."""

    sampling: WidthSampling = field(default_factory=UniformWidths)
    combine: Combination = field(default_factory=Min)
    distill: Divergence | None = None
    ema: float | None = None

    @classmethod
    def checked(cls, *, width_sampling: Any, combine: Any, distill: Any, ema: Any, budget: Any) -> TrainingOptions:
        """Fill in defaults; a ValueError or TypeError if an option is out of range."""
        sampling = UniformWidths() if width_sampling is None else width_sampling
        check_instance('width_sampling', sampling, WidthSampling, 'Sandwich()')
        divergence = {'kl': KLDivergence, 'alpha': AlphaDivergence}.get(distill) if isinstance(distill, str) else None
        chosen = divergence() if divergence is not None else distill
        if chosen is not None and not isinstance(chosen, Divergence):
            raise ValueError(f"distill={distill!r} must be 'kl', 'alpha', AlphaDivergence(...) or None.")
        if chosen is not None and not sampling.begins_with_full:
            raise ValueError(
                f'distill={distill!r} needs the full network in each step, as the teacher. Give width_sampling=Sandwich().'
            )
        return cls(sampling.for_budget(budget), Combination.of(combine), chosen, SupernetOptions.check('ema', ema))
