"""The row of this package: what can change in a model, and whether supernet, slim model and costs agree exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from nni_cafenet import WidthSpace, __version__

from .measures import distance, peak_memory, run, run_counted, stopwatch
from .models import Case, same_boxes

TOLERANCE = 1e-9
"""The largest distance between supernet and slim model that counts as exact, in float64."""

Channels = dict[str, torch.Tensor]


def measure(case: Case, draws: int) -> dict[str, Any]:
    """Build the space of a model and check it; return its row.

    Parameters
    ----------
    case
        The model.
    draws
        How many random widths to check, beside the smallest and the largest.
    """
    space, row = build(case)
    model = space.full_model.double()
    if case.family == 'detection':  # how many boxes are found, and cost MACs, is another number in this precision
        space = WidthSpace(model, example_input=case.arguments(dtype=torch.float64))
    with same_boxes(model):
        return {**row, **check(space, case, draws), 'memory_of_checks': round(peak_memory())}


def build(case: Case) -> tuple[WidthSpace, dict[str, Any]]:
    """Build the space of a model; return it and the columns that it takes no check to fill."""
    model = case.make()
    run(model, case.arguments())
    before = peak_memory()
    with stopwatch() as watch:
        space = WidthSpace(model, example_input=case.arguments(), outputs=case.outputs)
    growth = peak_memory() - before
    full, fewest = (np.array([list(widths.values())]) for widths in (space.full_widths, least_widths(space)))
    most, half, least = (
        int(macs) for macs in space.macs(np.concatenate([full, np.maximum(full // 2, fewest), fewest]))
    )
    params = space.params(dict(space.full_widths))
    row = {
        'tool_version': __version__,
        'groups': len(space.labels),
        'macs': most,
        'share_that_can_change': 1 - least / most,
        'params': params,
        'share_of_params': 1 - space.params(least_widths(space)) / params,
        'macs_at_half': half / most,
        **watch.row(),
        'memory': round(before),
        'memory_growth': round(growth),
        'fixed': dict(Counter(record.reason for record in space.graph.fixed)),
    }
    return space, row


def check(space: WidthSpace, case: Case, draws: int) -> dict[str, Any]:
    """Hold costs against slim models, and supernet against slim model in both modes; ``space`` is in float64.

    Returns
    -------
    The columns ``macs_exact``, ``params_exact``, ``error`` (the largest distance of outputs), ``verdict`` and ``why``.
    """
    arguments = {mode: case.arguments(training=mode, dtype=torch.float64) for mode in (False, True)}
    if case.family == 'detection':
        for mode in (False, True):
            run(space.train(mode), arguments[mode])  # the full model's boxes are those of all others
    macs_exact, params_exact, error, worst = True, True, 0.0, ''
    for name, widths, sets in channel_sets(space, draws):
        slim = space.slim(widths, sets)
        params_exact &= space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
        outputs = {}
        outputs[False], macs = run_counted(slim.eval(), arguments[False])
        outputs[True] = run(slim.train(), arguments[True])
        macs_exact &= space.macs(widths) == macs
        del slim
        space.activate(widths, sets)
        for mode in (False, True):
            found = distance(run(space.train(mode), arguments[mode]), outputs[mode])
            if found > error:
                error, worst = found, f'{name} in {"train" if mode else "eval"} mode'
    problems = [
        *(['MACs'] if not macs_exact else []),
        *(['parameters'] if not params_exact else []),
        *([f'outputs at {worst}'] if error >= TOLERANCE else []),
    ]
    return {
        'macs_exact': macs_exact,
        'params_exact': params_exact,
        'error': error,
        'verdict': 'wrong' if problems else 'exact',
        'why': ', '.join(problems),
    }


def channel_sets(space: WidthSpace, draws: int) -> Iterator[tuple[str, dict[str, int], Channels]]:
    """Yield what is checked: the smallest widths, the largest, and random ones, each with random channel sets."""
    rng = np.random.default_rng(0)
    full = {group.label: group.full for group in space.groups}
    wanted = [('the smallest widths', least_widths(space))]
    wanted += [('the largest widths', dict(space.full_widths))]
    wanted += [(f'random widths {draw + 1}', _drawn(space, rng)) for draw in range(draws)]
    for name, widths in wanted:
        own = space.group_widths(widths)
        sets = {label: np.sort(rng.choice(full[label], width, replace=False)) for label, width in own.items()}
        yield name, widths, {label: torch.from_numpy(chosen) for label, chosen in sets.items()}


def _drawn(space: WidthSpace, rng: np.random.Generator) -> dict[str, int]:
    if space.listed:
        return {label: widths[int(rng.integers(len(widths)))] for label, widths in space.choices.items()}
    least = least_widths(space)
    return {label: int(rng.integers(least[label], width + 1)) for label, width in space.full_widths.items()}


def least_widths(space: WidthSpace) -> dict[str, int]:
    """Return the smallest widths at which the model runs, whatever the space's own smallest choices are."""
    return space.smallest_widths if space.listed else {group.label: group.least_width for group in space.groups}


def warm_up() -> None:
    """Build a tiny space, so that what is imported on the first use costs no model its seconds and memory."""
    WidthSpace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), example_input=(1, 3, 4, 4))
