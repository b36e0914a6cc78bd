"""A result of the search, as NNI exports it."""

from __future__ import annotations

from nni.nas.space import ModelStatus, RawFormatModelSpace
from torch import nn

from .history import Scored
from .scoring import Scorer

__all__ = ['SearchedModel']


class SearchedModel(RawFormatModelSpace):
    """One result of the search, as NNI exports it.

    Parameters
    ----------
    scorer
        Gives the slim model.
    scored
        The width and its score.

    Attributes
    ----------
    sample
        The widths, ``{label: channels}``.
    """

    def __init__(self, scorer: Scorer, scored: Scored) -> None:
        super().__init__(scorer.space, None)
        self.scorer = scorer
        self.scored = scored
        self.sample = dict(scored.widths)
        self.status = ModelStatus.Trained
        self.metrics.final = scored.score

    def executable_model(self) -> nn.Module:
        """Return the slim model, with the weights of the winning channel set and re-estimated statistics."""
        return self.scorer.slim(self.scored)
