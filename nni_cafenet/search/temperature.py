"""The scale of logits, by which scores divide them unless a temperature is given."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['TEMPERATURES', 'scale_of']

TEMPERATURES = (1.0, 2.0, 3.0)
"""Temperatures at which every score is recorded beside its own, from one forward."""

_MASK = 1e4
"""Logits that are larger are masks, not outputs of a layer."""

_LEAST = 1e-4
"""Scale of logits that are all the same."""


def scale_of(logits: Tensor, dim: int | None) -> Tensor:
    """Return the scale of logits, a scalar: a score that divides by it does not depend on the scale.

    Weight sharing sets the scale of a width's logits: it grows with the inputs of the last layer, and with how well the
    supernet knows its training images, which says nothing of how well a network of these widths learns on its own.

    Parameters
    ----------
    logits
        The logits of a batch; infinite ones, and masks beyond 10,000, are left out.
    dim
        The dimension of classes: their standard deviation, averaged over all else. None: independent labels, the root mean
        square of all logits.
    """
    values = logits.detach().float()
    values = values.masked_fill(~(values.abs() < _MASK), torch.nan)
    if dim is None:
        scale = values.square().nanmean().sqrt()
    else:
        scale = (values - values.nanmean(dim, keepdim=True)).square().nanmean(dim).sqrt().nanmean()
    return scale.clamp_min(_LEAST)
