"""A width space as the supernet of NNI's own one-shot strategies: `RandomOneShot` and `ENAS`.

As released they would train the full network only: they look for choices in the parts of a model, and the widths of a
`WidthSpace` belong to the whole.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import nni.nas.strategy  # noqa: F401  (before nni.nas.oneshot: otherwise NNI loses its one-shot strategies)
import torch.distributed
from nni.nas.oneshot.pytorch.strategy import DARTS, OneShotStrategy
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule

from ..nni_compat.patches.loaders import tell_loaders_of_batches
from .width_space import WidthSpace

__all__ = ['OneShotWidthSpace', 'become_supernet']


class OneShotWidthSpace(WidthSpace, BaseSuperNetModule):
    """A `WidthSpace` that NNI's one-shot strategies have taken for their supernet; else it is what it was.

    The leftmost channels stand for a width. Each step trains widths that are drawn uniformly, the same in every
    process.
    """

    def trace_copy(self) -> Any:
        """Return what makes the space anew elsewhere, as a plain `WidthSpace`."""
        traced = super().trace_copy()
        traced.trace_symbol = WidthSpace
        return traced

    def resample(self, memo: Mapping[str, Any]) -> dict[str, int]:
        """Draw widths and let them run; those that stand in ``memo`` are taken."""
        widths = self._draw(memo)
        self.activate(widths)
        return widths

    def export(self, memo: Mapping[str, Any]) -> dict[str, int]:
        """Draw widths, as `RandomOneShot` does of a trained supernet; those that stand in ``memo`` are taken."""
        return self._draw(memo)

    def _draw(self, memo: Mapping[str, Any]) -> dict[str, int]:
        drawn = [{label: memo.get(label, random.choice(widths)) for label, widths in self.choices.items()}]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast_object_list(drawn)  # a step of several processes trains one network
        return {label: int(width) for label, width in drawn[0].items()}


def become_supernet(space: WidthSpace, strategy: OneShotStrategy) -> None:
    """Make a space the supernet of a one-shot strategy, in place.

    Raises
    ------
    TypeError
        If the strategy is differentiable.
    """
    if isinstance(strategy, DARTS):
        raise TypeError(
            f'{type(strategy).__name__} is differentiable: it runs every choice of a layer at once and adds the '
            'results. A WidthSpace runs one width at a time. Use RandomOneShot(), ENAS() or CafeNet(budget=...).'
        )
    tell_loaders_of_batches()
    space.__class__ = OneShotWidthSpace
