"""A scale for each kind of operator: in a network they take other times than alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .calibration import fit
from .grid import Grid, terms_of
from .interpolation import summed
from .recorded_ops import Operator

__all__ = ['kind_of', 'kind_scales']

IntArray = NDArray[np.int64]

_PULL = 0.1  # towards the common scale, in networks
_GROUPS = 8  # position of the number of groups among the arguments of a convolution


def kind_of(operator: Operator) -> str:
    """Return the kind of an operator: its name; convolutions of several groups are a kind of their own."""
    if operator.name == 'aten.convolution.default' and json.loads(operator.arguments)[0][_GROUPS] > 1:
        return f'{operator.name} (grouped)'
    return operator.name


def kind_scales(
    grids: Sequence[Grid],
    times: Callable[[Operator], int],
    columns: Mapping[str, IntArray],
    measured: Sequence[int],
) -> dict[str, float]:
    """Fit the scales, zero or more, with which operators alone add up to whole networks.

    Least squares of the relative errors (our reading), and drawn to the scale that fits all kinds together, since few
    networks cannot tell kinds apart whose shares rise and fall alike.

    Parameters
    ----------
    grids
        The operators of a space, measured alone.
    times
        Their times, ns.
    columns
        Widths of the timed networks, ``{label: (networks,)}``.
    measured
        Times of these networks, ns, shape (networks,).

    Returns
    -------
    ``{kind: scale}``.
    """
    from scipy.optimize import nnls

    by_kind: dict[str, list[Grid]] = {}
    for grid in grids:
        by_kind.setdefault(kind_of(grid.operators[-1]), []).append(grid)
    sums = np.stack([summed(*terms_of(each, times), columns, len(measured)) for each in by_kind.values()], axis=1)
    real = np.asarray(measured, np.float64)
    common = fit(sums.sum(axis=1).tolist(), measured).scale / (1 << 16)
    shares = sums / real[:, None]
    offset = real.mean() / real
    pull = np.sqrt(_PULL) * np.append(shares.mean(axis=0), 0.0)
    rows = np.vstack([np.column_stack([shares, offset]), np.diag(pull)])
    wanted = np.concatenate([np.ones(len(real)), pull * common])
    scales, _ = nnls(rows, wanted)
    return dict(zip(by_kind, scales[:-1].tolist()))
