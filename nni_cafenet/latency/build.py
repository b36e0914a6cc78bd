"""Measure the terms of a latency table: record operators, time them on grids of sizes, time whole networks."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from ..slicing import Selection
from ..slim import slim_model
from ..space import WidthSpace
from ..utils import check_whole_number, pass_on
from .cache import TimeCache
from .calibration import others_than, random_widths
from .clock import Clock
from .grid import Grid, Region, grid_of, terms_of
from .interpolation import Term
from .kind_scales import kind_of, kind_scales
from .recorded_ops import Operator, recorded_operators
from .runtimes import Runtime, clock_of
from .space_identity import identity
from .symbolic_sizes import SymbolicOp, find_symbolic_ops

__all__ = ['Measurement', 'Share', 'measure_terms']

Array = NDArray[np.int64]
_S = TypeVar('_S')

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """The share of one kind of operator in the full network.

    ``time`` sums all its calls, each measured alone, in ns; None if they could not be measured. ``scale`` is that of
    the kind: in a network, its operators take ``time * scale``.
    """

    operator: str
    calls: int
    time: int | None
    scale: float = 1.0


@dataclass(frozen=True)
class Measurement:
    """What was measured of a space; the fields are those of `LatencyTable`.

    ``fitted`` are widths (networks, groups) that calibrate the table, ``held`` those that estimate its error; times in
    ns.
    """

    device: str
    runtime: str
    batch: int
    environment: str
    constant: int
    terms: tuple[Term, ...]
    shares: tuple[Share, ...]
    fitted: Array
    held: Array
    fitted_times: list[int]
    held_times: list[int]


def measure_terms(
    space: WidthSpace,
    *,
    device: Any = 'cpu',
    batch: int = 1,
    threads: int | None = None,
    runtime: Runtime = 'torch',
    points: int = 5,
    rounds: int = 3,
    networks: int = 8,
    held_out: int = 6,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
    clock: Clock | None = None,
) -> Measurement:
    """Measure a space; see `LatencyTable.measure`. ``clock`` times calls, in place of one for the device."""
    clock = clock_of(runtime, device, threads) if clock is None else clock
    batch = check_whole_number('batch', batch, 1)
    choices = {group.label: group.choices for group in space.groups}
    region = Region(choices, check_whole_number('points', points, 2))
    rounds = check_whole_number('rounds', rounds, 1)
    networks = check_whole_number('networks', networks, 0)
    held_out = check_whole_number('held_out', held_out, 2)
    if any(tensor.device.type == 'meta' for tensor in space.full_model.parameters()):
        raise ValueError(
            'The model of the space is on the meta device and computes nothing: LatencyTable.measure needs a model with '
            'values; random ones suffice.'
        )
    rng = np.random.default_rng(seed)
    subject = _Subject(space, clock, batch)
    measured = TimeCache(clock.describe(), None if cache is None else Path(cache))
    followers, others = find_symbolic_ops(subject.operators, region.smallest, region.full)
    plans = [(follower, grid_of(follower, region)) for follower in followers]
    half = list(space.group_widths(space.uniform_widths(0.5)).values())
    fitted = np.stack([region.smallest, half, region.full, *random_widths(choices, networks, rng)])
    held = others_than(fitted, choices, held_out, rng)
    wanted = {operator.key: operator for _, grid in plans if grid is not None for operator in grid.operators}
    with tqdm(
        total=rounds * (len(wanted) + len(fitted) + len(held)),
        desc='Latency',
        unit='time',
        dynamic_ncols=True,
        disable=not progress,
    ) as bar:
        _in_rounds(measured, wanted, _or_none(clock.operator), rounds, rng, bar)
        rows = {subject.key(row): row for row in [*fitted, *held]}
        _in_rounds(measured, rows, subject.time, rounds, rng, bar)

    def time_of(operator: Operator) -> int | None:
        return measured.median(operator.key)

    known = [grid for _, grid in plans if grid is not None and None not in map(time_of, grid.operators)]
    times = [measured.median(subject.key(row)) or 1 for row in (*fitted, *held)]
    columns = dict(zip(choices, fitted.T))
    scales = kind_scales(known, lambda operator: time_of(operator) or 0, columns, times[: len(fitted)])
    constant, terms = terms_of(known, lambda operator: round((time_of(operator) or 0) * scales[kind_of(operator)]))
    return Measurement(
        device=str(clock.device),
        runtime=clock.runtime,
        batch=batch,
        environment=clock.describe(),
        constant=constant,
        terms=tuple(terms),
        shares=tuple(_shares(plans, others, region.full, time_of, scales)),
        fitted=fitted,
        held=held,
        fitted_times=times[: len(fitted)],
        held_times=times[len(fitted) :],
    )


class _Subject:
    """The slim models of a space on a device."""

    def __init__(self, space: WidthSpace, clock: Clock, batch: int) -> None:
        self.space = space
        self.clock = clock
        self.example = space.example_input.with_batch(batch).map(lambda tensor: tensor.detach().to(clock.device))
        text = json.dumps([identity(space), batch], sort_keys=True)
        self._name = hashlib.sha256(text.encode()).hexdigest()[:16]

    def key(self, widths: Array) -> str:
        """Return the cache key of a network's time."""
        return f'network {self._name} {",".join(map(str, widths.tolist()))}'

    def operators(self, widths: Array) -> list[Operator]:
        """Return the operators of the network of widths (groups,)."""
        return recorded_operators(self._slim(widths), self.example)

    def time(self, widths: Array) -> int:
        """Time the network of widths (groups,), ns."""
        return self.clock.model(self._slim(widths), self.example, name=self.key(widths)).median

    def _slim(self, widths: Array) -> nn.Module:
        selection = Selection(self.space.graph, dict(zip(self.space.graph.labels, widths.tolist())))
        return slim_model(self.space.full_model, selection).eval().to(self.clock.device)


def _in_rounds(
    measured: TimeCache,
    subjects: Mapping[str, _S],
    timed: Callable[[_S], int | None],
    rounds: int,
    rng: np.random.Generator,
    bar: Any,
) -> None:
    """Time everything once per round, in random order, so that temporary slowdowns affect all equally."""
    keys = list(subjects)
    for number in range(rounds):
        for index in rng.permutation(len(keys)):
            if measured.rounds(keys[index]) <= number:
                measured.add(keys[index], timed(subjects[keys[index]]))
            bar.update()
    measured.save()


def _or_none(timed: Callable[[Operator], int]) -> Callable[[Operator], int | None]:
    """Return the time, or None if the operator does not run on artificial values."""

    def attempt(operator: Operator) -> int | None:
        try:
            return timed(operator)
        except Exception as error:  # noqa: BLE001  whatever an operator raises; the calibration stands for it
            pass_on(error, memory=False)
            _logger.debug('%s cannot be measured alone: %s', operator.name, error)
            return None

    return attempt


def _shares(
    plans: Sequence[tuple[SymbolicOp, Grid | None]],
    others: Sequence[Operator],
    full: Array,
    time_of: Callable[[Operator], int | None],
    scales: Mapping[str, float],
) -> list[Share]:
    """Return the share of each kind of operator in the full network, largest first, unknown ones last."""
    calls: Counter[tuple[str, bool]] = Counter((kind_of(operator), False) for operator in others)
    times: Counter[str] = Counter()
    for follower, grid in plans:
        whole = follower.at(full)
        time, kind = time_of(whole), kind_of(whole)
        known = grid is not None and None not in map(time_of, grid.operators)
        calls[kind, known] += 1
        times[kind] += (time or 0) if known else 0
    shares = [
        Share(kind, number, times[kind], scales[kind]) if known else Share(kind, number, None)
        for (kind, known), number in calls.items()
    ]
    return sorted(shares, key=lambda share: (share.time is None, -(share.time or 0) * share.scale, share.operator))
