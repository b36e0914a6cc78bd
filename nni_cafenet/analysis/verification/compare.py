"""When two outputs count as equal: every tolerance of the analysis, each with its reason."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ['masks_agree', 'same_but_for_rounding', 'same_output', 'same_sample']

# --- the tolerances: shares of the largest value of an output, or of what a change of widths does to it ---

ROUNDING = 1e4
"""Machine epsilons of the largest value. Sums in another order differ by a few; hundreds of layers amplify that."""

MASKS_IN_FLOAT64 = 1e-6
"""Of the effect. Rounding leaves 1e-9 or less, a wrong channel 1e-3 or more; some code computes in float32 regardless."""

MASKS_AT_ONCE = 1e-4
"""Of the effect, in the model's own precision: so close that float64 need not be asked."""

MASKS_UNLIKE = 1e-2
"""Of the effect, in the model's own precision: an error above this is a failure, one below it is left to float64."""

MASKS_WITHOUT_FLOAT64 = 1e-2
"""Of the effect, where the model does not run in float64: nothing finer can be told from rounding."""

ZEROS_IN_FLOAT64 = 1e-9
"""Of the largest value: contract 'Same outputs'. Zeros in normalized channels change far more."""

SAMPLE = 1e-4
"""Of the largest value, in float32 and float64: kernels for one sample and for a batch sum in other orders."""

SAMPLE_IN_HALF = 5e-2
"""Of the largest value, in float16 and bfloat16: some ten of their epsilons, through all layers."""


def same_but_for_rounding(before: list[Tensor], now: list[Tensor]) -> bool:
    """Whether two runs give the same; values that are not finite are not compared."""
    if [leaf.shape for leaf in now] != [leaf.shape for leaf in before]:
        return False
    for old, new in zip(before, now):
        if old.numel() and old.is_floating_point():
            smallest = torch.finfo(old.dtype).tiny
            error = float((old - new).abs().max() / old.abs().max().clamp_min(smallest))
            if np.isfinite(error) and error > ROUNDING * torch.finfo(old.dtype).eps:
                return False
    return True


def masks_agree(sliced: Tensor, zeros: Tensor, whole: Tensor, *, last: bool) -> bool | None:
    """Whether slices and zeros give the same output, relative to what the zeros change.

    None if that is too close to tell, unless it is the ``last`` precision to ask.
    """
    if not bool(whole.isfinite().all()):
        return True if last else None  # there is nothing to compare with
    if not bool(sliced.isfinite().all()):
        return False if last else None
    if not bool(zeros.isfinite().all()):
        return True if last else None
    error = float((sliced - zeros).abs().max())
    effect = float((whole - zeros).abs().max())
    scale = float(whole.abs().max())
    negligible = ROUNDING * torch.finfo(zeros.dtype).eps * scale
    in_double = zeros.dtype is torch.float64
    closest = MASKS_IN_FLOAT64 if in_double else MASKS_WITHOUT_FLOAT64 if last else MASKS_AT_ONCE
    if error <= closest * effect:
        return True
    if last:
        return error <= negligible
    return False if min(error, effect) > negligible and error > MASKS_UNLIKE * effect else None


def same_output(left: Tensor, right: Tensor) -> bool:
    """Whether two outputs are the same but for rounding; values that are not finite differ from all others."""
    if not left.is_floating_point():
        return torch.equal(left, right)
    in_double = left.dtype is torch.float64
    tolerance = ZEROS_IN_FLOAT64 if in_double else ROUNDING * torch.finfo(left.dtype).eps
    scale = float(right.abs().max()) if right.numel() else 0.0
    return torch.allclose(left, right, rtol=0, atol=tolerance * scale, equal_nan=True)


def same_sample(left: Tensor, right: Tensor, *, values: bool) -> bool:
    """Whether one sample gives the same alone and in its batch; without ``values`` shapes alone are compared."""
    if left.shape != right.shape:
        return False
    if not values or not left.numel() or not left.is_floating_point():
        return True
    precise = left.dtype in (torch.float32, torch.float64)
    scale = float(right.abs().max())
    error = (left - right).abs().nan_to_num(0.0).max()
    return float(error) <= (SAMPLE if precise else SAMPLE_IN_HALF) * scale
