"""Kinds of bad input and what is said of them: a test for each, and a table for the documents.

`python tests/utils/test_validation.py` prints the table as Markdown.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nni.nas.strategy  # noqa: F401
import numpy as np
import pytest
import torch
from torch import nn

import nni_cafenet as package
from nni_cafenet.errors import TraceError
from nni_cafenet.options.halving import Halving

Both = (TypeError, ValueError)


@dataclass(frozen=True)
class Row:
    """A bad value of an argument.

    Parameters
    ----------
    what
        The class or function.
    argument, value
        What is given.
    kinds
        Classes of the error, one of which is raised.
    """

    what: str
    argument: str
    value: Any
    kinds: tuple[type[BaseException], ...] = Both

    @property
    def shown(self) -> str:
        """The value as a table shows it."""
        text = re.sub(' at 0x[0-9a-f]+', '', repr(self.value))  # the same in every process
        return text if len(text) <= 40 else f'{text[:37]}...'


@functools.cache
def space() -> package.WidthSpace:
    """Return a small space."""
    return package.WidthSpace(net(), example_input=(2, 3))


def net() -> nn.Module:
    """Return a small network."""
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


_CALLS: dict[str, Callable[..., Any]] = {
    'CafeNet': lambda **options: package.CafeNet(**{'budget': '50%', **options}),
    'ShortTrainings': lambda **options: package.ShortTrainings(**{'budget': '50%', **options}),
    'prune': lambda **options: package.prune(net(), **{'budget': '50%', 'example_input': (1, 3), **options}),
    'CafeNetPruner': lambda **options: package.CafeNetPruner(
        net(), None, **{'budget': '50%', 'example_input': (1, 3), **options}
    ),
    'WidthSpace': lambda **options: package.WidthSpace(net(), **{'example_input': (1, 3), **options}),
    'WidthMutator': lambda **options: package.WidthMutator(**options),
    'FlopsSensitiveBins': package.FlopsSensitiveBins,
    'EqualBins': package.EqualBins,
    'LocallyFree': package.LocallyFree,
    'Bilateral': package.Bilateral,
    'Evolution': package.Evolution,
    'RandomSearch': package.RandomSearch,
    'Halving': Halving,
    'WithinBudget': lambda **options: package.WithinBudget(**{'budget': '50%', **options}),
    'space.macs': lambda widths: space().macs(widths),
    'space.params': lambda widths: space().params(widths),
    'space.slim': lambda widths: space().slim(widths),
    'space.activate': lambda widths: space().activate(widths),
    'space.uniform_widths': lambda ratio: space().uniform_widths(ratio),
    'space.uniform_within': lambda macs: space().uniform_within(macs),
    'LatencyTable.measure': lambda **options: package.LatencyTable.measure(space(), **options),
    'time_model': lambda **options: package.time_model(net(), (1, 3), **options),
    'export_torchscript': lambda **options: package.export_torchscript(
        net(), **{'path': 'x.pt', 'example_input': (1, 3), **options}
    ),
    'importance': lambda **options: package.importance(space(), **options),
}


def call(row: Row) -> Any:
    """Give a bad value."""
    return _CALLS[row.what](**{row.argument: row.value})


def _rows(what: str, argument: str, *values: Any, kinds: tuple[type[BaseException], ...] = Both) -> list[Row]:
    return [Row(what, argument, value, kinds) for value in values]


_NO_COUNT = (-1, 1.5, math.nan, math.inf, True, '3', [3], np.float64(2))
_NO_SHARE = (-0.1, 1.5, math.nan, math.inf, '10%', None, True)
_NO_FLAG = ('yes', 1, 0.0, [])
_NO_WIDTHS = (
    [[-5]],
    [[0]],
    [[9]],
    [[1.5]],
    [[True]],
    [['a']],
    [4],
    [[4, 4]],
    [[math.nan]],
    4,
    None,
    'wide',
    np.zeros((2, 0)),
)
_NO_PATH = ('', ' ', 3, b'x', 'a\0b', ['x'])
_NO_SEED = (-1, 2**70, 1.5, None, '0', True)
_NO_EXAMPLE = ((0, 1, 8, 8), (1, -3), (True, 3), (), None, 'picture', 3, (1.0, 3.0), {}, torch.empty(0, 3))

ROWS: list[Row] = [
    *_rows('CafeNet', 'budget', [], ['50%', '50 %']),
    *_rows('CafeNet', 'channel_sets_per_step', 0, *_NO_COUNT),
    *_rows('CafeNet', 'channel_sets_per_score', 0, *_NO_COUNT),
    *_rows('CafeNet', 'statistics_batches', *_NO_COUNT),
    *_rows('CafeNet', 'finalists', *_NO_COUNT),
    *_rows('CafeNet', 'seed', *_NO_SEED),
    *_rows('CafeNet', 'holdout', 0, 1, *_NO_SHARE),
    *_rows('CafeNet', 'higher_is_better', *_NO_FLAG),
    *_rows('CafeNet', 'metric_higher_is_better', *_NO_FLAG),
    *_rows('CafeNet', 'baseline', *_NO_FLAG, None),
    *_rows('CafeNet', 'score', 3, '', None, ['loss'], b'loss'),
    *_rows('CafeNet', 'metric', 7, '', ['acc'], True),
    *_rows('CafeNet', 'score_data', 5, 'digits', iter([1]), torch.utils.data.TensorDataset(torch.zeros(3))),
    *_rows('CafeNet', 'directory', *_NO_PATH),
    *_rows('CafeNet', 'trial_directory', *_NO_PATH),
    *_rows('CafeNet', 'sharing', 'fixed', 3, package.Fixed),
    *_rows('CafeNet', 'search', 100, 'random', package.RandomSearch),
    *_rows('CafeNet', 'memory', 2, 'all', None),
    *_rows('CafeNet', 'finalist_weights', 'old', None, 3),
    *_rows('CafeNet', 'temperature', 0, -1, math.nan, math.inf, '2', True),
    *_rows('ShortTrainings', 'n', 1, *_NO_COUNT),
    *_rows('ShortTrainings', 'floor', *_NO_SHARE),
    *_rows('ShortTrainings', 'seed', *_NO_SEED),
    *_rows('prune', 'epochs', *_NO_COUNT),
    *_rows('prune', 'finetune_epochs', *_NO_COUNT),
    *_rows('prune', 'finalists', 0, *_NO_COUNT),
    *_rows('prune', 'seed', *_NO_SEED),
    *_rows('prune', 'distill', *_NO_FLAG),
    *_rows('prune', 'device', 'tpu', 3, None),
    *_rows('CafeNetPruner', 'example_input', (0, 3), 'x'),
    *_rows('CafeNetPruner', 'budget', ['50%', '25%']),
    *_rows('CafeNetPruner', 'epoch', 3),
    *_rows('WidthSpace', 'example_input', *_NO_EXAMPLE, kinds=(*Both, TraceError)),
    *_rows('WidthSpace', 'bins', 4, 'equal', package.EqualBins),
    *_rows('WidthSpace', 'divisor', 0, *_NO_COUNT),
    *_rows('WidthSpace', 'verify', *_NO_FLAG),
    *_rows('WidthSpace', 'min_ratio', *_NO_SHARE),
    *_rows('WidthSpace', 'max_ratio', 0, *_NO_SHARE),
    *_rows('WidthMutator', 'bins', 4, 'equal', package.EqualBins),
    *_rows('WidthMutator', 'divisor', 0, *_NO_COUNT),
    *_rows('WidthMutator', 'verify', *_NO_FLAG),
    *_rows('FlopsSensitiveBins', 'min_bin', 0, 64, *_NO_COUNT),
    *_rows('FlopsSensitiveBins', 'max_bin', 0, *_NO_COUNT),
    *_rows('EqualBins', 'number', 0, *_NO_COUNT),
    *_rows('LocallyFree', 'offset', *_NO_COUNT),
    *_rows('LocallyFree', 'zone', 'left', None, 3),
    *_rows('LocallyFree', 'unit', 'bins', None, 3),
    *_rows('Bilateral', 'rule', 3, 'fixed', package.Fixed),
    *_rows('Evolution', 'population', 0, 1, *_NO_COUNT),
    *_rows('Evolution', 'generations', 0, *_NO_COUNT),
    *_rows('Evolution', 'crossover_probability', *_NO_SHARE),
    *_rows('Evolution', 'eta', -1, math.nan, math.inf, '3', None),
    *_rows('Evolution', 'floor', *_NO_SHARE),
    *_rows('Evolution', 'initial', 3, 'best', ['x'], {'a': 3}),
    *_rows('RandomSearch', 'n', 0, *_NO_COUNT),
    *_rows('RandomSearch', 'batch', 0, *_NO_COUNT),
    *_rows('RandomSearch', 'floor', *_NO_SHARE),
    *_rows('Halving', 'epochs', (), (4, 2), (0, 1), 'two', (1.5, 2), None, (True, 2)),
    *_rows('Halving', 'keep', 0, 1, *_NO_SHARE),
    *_rows('WithinBudget', 'seed', *_NO_SEED),
    *_rows('space.macs', 'widths', *_NO_WIDTHS, {}, {'x': 3}, {'0': 0}, {'0': 1.5}),
    *_rows('space.params', 'widths', *_NO_WIDTHS),
    *_rows('space.slim', 'widths', {}, {'x': 3}, {'0': 0}, {'0': 9}, {'0': True}, 4, None, [[4]]),
    *_rows('space.activate', 'widths', {}, {'x': 3}, {'0': 0}, 4, None),
    *_rows('space.uniform_widths', 'ratio', *_NO_SHARE),
    *_rows('space.uniform_within', 'macs', 0, *_NO_COUNT),
    *_rows('LatencyTable.measure', 'device', 'tpu', 3.5),
    *_rows('LatencyTable.measure', 'batch', 0, *_NO_COUNT),
    *_rows('LatencyTable.measure', 'points', 1, *_NO_COUNT),
    *_rows('LatencyTable.measure', 'threads', 0, *_NO_COUNT),
    *_rows('time_model', 'batch', 0, *_NO_COUNT),
    *_rows('time_model', 'repeats', 0, *_NO_COUNT),
    *_rows('export_torchscript', 'path', *_NO_PATH),
    *_rows('export_torchscript', 'tolerance', -1, math.nan, math.inf, '1'),
    *_rows('importance', 'rule', 'best', 3),
]


def as_markdown() -> str:
    """Return the kinds of bad input as a table: what is called, the argument, the values, the error."""
    lines = ['| called | argument | refused values | error |', '| --- | --- | --- | --- |']
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in ROWS:
        groups.setdefault((row.what, row.argument), []).append(row)
    for (what, argument), rows in groups.items():
        kinds = ' or '.join(dict.fromkeys(kind.__name__ for kind in rows[0].kinds))
        values = ', '.join(f'`{row.shown}`' for row in rows).replace('|', '\\|').replace('\0', '\\0')
        lines.append(f'| `{what}` | `{argument}` | {values} | {kinds} |')
    return '\n'.join([*lines, '', f'{len(ROWS)} values of {len(groups)} arguments.'])


@pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row.what}-{row.argument}-{row.shown}')
def test_a_bad_value_is_refused(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(row.kinds) as raised:
        call(row)
    assert row.argument in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_line_for_each_argument():
    table = as_markdown()
    assert table.count('\n| `') == len({(row.what, row.argument) for row in ROWS})


if __name__ == '__main__':
    print(as_markdown())
