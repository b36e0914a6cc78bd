"""A width space as the supernet of NNI's own one-shot strategies: `RandomOneShot` and `ENAS`.

As released they would train the full network only: they look for choices in the parts of a model, and the widths of a
`WidthSpace` belong to the whole.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol

import nni.nas.strategy  # noqa: F401  (before nni.nas.oneshot: otherwise NNI loses its one-shot strategies)
import torch.distributed
from nni.nas.oneshot.pytorch.strategy import DARTS, OneShotStrategy
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule

from ..nni_compat import tell_loaders_of_batches

__all__ = ['OneShotWidths', 'prepare_one_shot']


class _Widths(Protocol):
    """What `OneShotWidths` needs of a width space."""

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]: ...

    def activate(self, widths: Mapping[str, int]) -> Any: ...


class OneShotWidths(BaseSuperNetModule):
    """The part of a supernet that NNI's one-shot strategies call: widths are drawn, then run.

    The leftmost channels stand for a width. Each step trains widths that are drawn uniformly, the same in every
    process.
    """

    def resample(self: _Widths, memo: Mapping[str, Any]) -> dict[str, int]:
        """Draw widths and let them run; those that stand in ``memo`` are taken."""
        widths = _draw(self.choices, memo)
        self.activate(widths)
        return widths

    def export(self: _Widths, memo: Mapping[str, Any]) -> dict[str, int]:
        """Draw widths, as `RandomOneShot` does of a trained supernet; those that stand in ``memo`` are taken."""
        return _draw(self.choices, memo)


def _draw(choices: Mapping[str, tuple[int, ...]], memo: Mapping[str, Any]) -> dict[str, int]:
    drawn = [{label: memo.get(label, random.choice(widths)) for label, widths in choices.items()}]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(drawn)  # a step of several processes trains one network
    return {label: int(width) for label, width in drawn[0].items()}


def prepare_one_shot(strategy: OneShotStrategy) -> None:
    """Check that a one-shot strategy can train a width space, and patch what it needs of NNI.

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
