"""The row of NVIDIA ModelOpt: the search space of its FastNAS mode, and the subnet that is nearest to half of each width.

The space is that of the mode's own configuration, in which widths are multiples of 32; beside it the MACs at half of a
second space, in which they are multiples of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import modelopt.torch.nas as mtn
from modelopt.torch.opt.utils import named_hparams
from modelopt.torch.prune.fastnas import FastNASConfig
from torch import nn

from .measures import distance, first_line, peak_memory, run, run_counted, stopwatch, time_limit
from .models import Case

_TOLERANCE = 1e-4


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Convert a model and check a subnet of it; return its row.

    The verdict is *exact*: the exported subnet computes in float32 what the converted model did at the same widths;
    *eval only*: so in eval mode, but in training mode the exported subnet fails; *wrong*: they differ.
    """
    model = case.make()
    arguments = case.arguments()
    _, full_macs = run_counted(model, arguments)
    before = peak_memory()
    with time_limit(seconds), stopwatch() as watch:
        model = mtn.convert(model, 'fastnas')
    growth = peak_memory() - before
    hparams = dict(named_hparams(model, configurable=True))
    row = {
        'tool_version': version('nvidia-modelopt'),
        'groups': len(hparams),
        'choices': sum(len(hparam.choices) for hparam in hparams.values()),
        'macs': full_macs,
        **watch.row(),
        'memory': round(before),
        'memory_growth': round(growth),
    }
    mtn.sample(model, min)
    row['macs_at_smallest'] = run_counted(model, arguments)[1] / full_macs
    mtn.sample(model, _nearest_to_half)
    before = run(model, arguments)
    slim = mtn.export(model).eval()
    after, macs = run_counted(slim, arguments)
    row['macs_at_half'] = macs / full_macs
    error = distance(after, before)
    if error < _TOLERANCE:
        row['verdict'] = 'exact'
    else:
        row.update(verdict='wrong', why='the exported subnet computes something else')
    row['error'] = error
    try:
        run(slim.train(), case.arguments(training=True))
    except Exception as problem:  # noqa: BLE001 - any error is the finding
        if row['verdict'] == 'exact':
            row.update(verdict='eval only', why=first_line(problem))
    return {**row, 'macs_at_half_of_finest': _macs_at_half_of_finest(case, full_macs)}


def _macs_at_half_of_finest(case: Case, full_macs: int) -> float | None:
    config = FastNASConfig().model_dump()
    for rules in config.values():
        for rule in (rules or {}).values():
            rule.update({name: 1 for name in rule if name.endswith('_divisor')})
    try:
        model = mtn.convert(case.make(), [('fastnas', config)])
        mtn.sample(model, _nearest_to_half)
        return run_counted(mtn.export(model).eval(), case.arguments())[1] / full_macs
    except Exception:  # noqa: BLE001 - the row stands without it
        return None


def _nearest_to_half(choices: Sequence[Any]) -> Any:
    return min(choices, key=lambda choice: abs(choice - max(choices) / 2)) if _are_numbers(choices) else max(choices)


def _are_numbers(choices: Sequence[Any]) -> bool:
    return all(isinstance(choice, (int, float)) for choice in choices)


def warm_up() -> None:
    """Convert a small model, so that what is imported on the first use costs no model its seconds."""
    mtn.convert(nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU(), nn.Conv2d(64, 2, 1)), 'fastnas')
