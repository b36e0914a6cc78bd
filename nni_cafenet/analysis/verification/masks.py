"""Does the model compute on slices what it computes with everything else set to zero?

Only where no operator mixes channels: zeros change what normalization, softmax and means compute of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from ...graph import ChannelGraph
from .compare import masks_agree
from .forwards import Forwards
from .overrides import masked

__all__ = ['slices_agree_with_zeros']

_logger = logging.getLogger(__name__)


def slices_agree_with_zeros(
    forwards: Forwards, graph: ChannelGraph, sets: Mapping[str, Any], dtype: torch.dtype | None, *, last: bool
) -> bool | None:
    """Whether the model computes the same on slices and with zeros; None as in `masks_agree`."""
    whole = forwards.whole(dtype)
    with forwards.replaying() as decisions:
        zeros = forwards.outputs(dtype, masked(graph, sets, forwards.device))
    with forwards.replaying(decisions.taken), forwards.counted.counting(sets):
        sliced = forwards.sliced(graph, sets, dtype)
    if [leaf.shape for leaf in sliced] != [leaf.shape for leaf in zeros]:
        return False
    if forwards.device.type == 'meta':
        return True
    if last and not all(bool(leaf.isfinite().all()) for leaf in whole if leaf.is_floating_point()):
        _logger.warning('The model returns values that are not finite: only shapes are checked there.')
    verdicts = [
        masks_agree(s, z, w if w.shape == z.shape else torch.zeros_like(z), last=last)
        for s, z, w in zip(sliced, zeros, whole)
        if z.numel() and z.is_floating_point()
    ]
    return False if False in verdicts else None if None in verdicts else True
