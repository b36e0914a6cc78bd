"""A result of the search, as NNI exports it."""

from __future__ import annotations

from collections.abc import Callable

from nni.nas.space import ModelStatus, RawFormatModelSpace
from torch import nn

from ..search import Scored
from ..space import WidthSpace

__all__ = ['SearchedModel']


class SearchedModel(RawFormatModelSpace):
    """One result of the search, as NNI exports it; ``make`` returns the slim model."""

    def __init__(self, space: WidthSpace, scored: Scored, make: Callable[[Scored], nn.Module]) -> None:
        super().__init__(space, None)
        self.scored = scored
        self.sample = dict(scored.widths)
        self.status = ModelStatus.Trained
        self.metrics.final = scored.score
        self._make = make

    def executable_model(self) -> nn.Module:
        """Return the slim model, with the weights of the winning channel set and re-estimated statistics."""
        return self._make(self.scored)
