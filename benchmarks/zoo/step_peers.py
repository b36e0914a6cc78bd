"""What a step of another tool's supernet costs, beside a step of that tool's own slim network of the same widths."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .measures import first_line
from .side_by_side import ratio, side_by_side

PEERS = {'ModelOpt': ('modelopt', 'zoo.step_modelopt'), 'NNI': ('nni', 'zoo.step_nni')}
"""The tools: what of each is imported, and the module whose ``pairs`` gives its steps."""


class Pair(NamedTuple):
    """The two steps of a round: of the supernet with its widths chosen, and of the slim network of these widths."""

    supernet: Callable[[], None]
    slim: Callable[[], None]


def step(network: nn.Module, images: Tensor) -> None:
    """Run a network forward and backward; image *i* is of class *i*."""
    network.zero_grad(set_to_none=True)
    cross_entropy(network(images), torch.arange(len(images), device=images.device)).backward()


def peer_row(
    peer: str, name: str, share: float | None, images: Tensor, *, seed: int, rounds: int, cpu_time: bool
) -> dict[str, Any]:
    """Time a tool's steps in turns.

    Parameters
    ----------
    peer
        A key of `PEERS`.
    name
        Name of the model in torchvision.
    share
        Share of every full width that is kept; None for random widths, other ones every round.
    images
        What the steps run on.
    seed
        Of the random widths.
    rounds
        How often both are timed.
    cpu_time
        Count processor time of this process.

    Returns
    -------
    ``{'step': {side: milliseconds}, 'step ratio': quotient}``, or ``{'why': reason}`` where there are none.
    """
    package, module = PEERS[peer]
    if importlib.util.find_spec(package) is None:
        return {'why': 'not installed'}
    try:
        pairs = importlib.import_module(module).pairs(name, share, images, seed)
        current: dict[str, Pair] = {}
        calls = {side: lambda side=side: getattr(current['pair'], side)() for side in Pair._fields}
        seconds = side_by_side(calls, rounds, cpu_time=cpu_time, before_round=lambda: current.update(pair=next(pairs)))
    except Exception as problem:  # noqa: BLE001 - any error of a tool is a finding
        return {'why': first_line(problem)}
    return {
        'step': {side: 1000 * statistics.median(times) for side, times in seconds.items()},
        'step ratio': ratio(seconds, 'supernet', 'slim'),
    }
