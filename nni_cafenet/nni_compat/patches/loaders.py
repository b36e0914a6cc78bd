"""ENAS is told which loader a batch comes from.

Fault in NNI: `ENAS` (and `DARTS`) alternate training and validation data, and expect the arguments that Lightning 2.0
passed to a training step: ``(batch, index, loader)``. Later releases pass only the batch, so a batch of pictures and
labels is taken for ``(batch, 'train' or 'val')``, and the first step fails. NNI's loader gives all three here.
"""

from __future__ import annotations

import functools
from typing import Any

import nni.nas.strategy  # noqa: F401  (before nni.nas.oneshot: otherwise NNI loses its one-shot strategies)
from nni.nas.oneshot.pytorch._dataloader import ConcatLoader

__all__ = ['tell_loaders_of_batches']


def tell_loaders_of_batches() -> None:
    """Make NNI's loader of training and validation data yield batches with their loader."""
    released = ConcatLoader.__next__
    if getattr(released, 'tells_loader', False):
        return

    @functools.wraps(released)
    def following(self: Any) -> Any:
        batch, index, loader = released(self)
        return (batch, index, loader), index, loader

    following.tells_loader = True  # type: ignore[attr-defined]
    ConcatLoader.__next__ = following
