"""Width spaces as supernets of NNI's one-shot strategies `RandomOneShot` and `ENAS`.

Unpatched, these train the full network only: they search submodules for choices, and widths belong to the whole model.
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
    """The interface of a width space that `OneShotWidths` uses."""

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]: ...

    def activate(self, widths: Mapping[str, int]) -> Any: ...


class OneShotWidths(BaseSuperNetModule):
    """NNI's supernet interface: each step trains uniformly drawn widths, with the leftmost channels, equal on all ranks."""

    def resample(self: _Widths, memo: Mapping[str, Any]) -> dict[str, int]:
        """Draw widths and activate them; widths in ``memo`` are kept."""
        widths = _draw(self.choices, memo)
        self.activate(widths)
        return widths

    def export(self: _Widths, memo: Mapping[str, Any]) -> dict[str, int]:
        """Draw widths; widths in ``memo`` are kept."""
        return _draw(self.choices, memo)


def _draw(choices: Mapping[str, tuple[int, ...]], memo: Mapping[str, Any]) -> dict[str, int]:
    drawn = [{label: memo.get(label, random.choice(widths)) for label, widths in choices.items()}]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(drawn)  # all ranks train the same network
    return dict(drawn[0])


def prepare_one_shot(strategy: OneShotStrategy) -> None:
    """Patch NNI for a one-shot strategy on a width space; a TypeError if the strategy is differentiable."""
    if isinstance(strategy, DARTS):
        raise TypeError(
            f'{type(strategy).__name__} is differentiable: it runs every choice of a layer at once and adds the '
            'results. A WidthSpace runs one width at a time. Use RandomOneShot(), ENAS() or CafeNet(budget=...).'
        )
    tell_loaders_of_batches()
