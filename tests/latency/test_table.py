from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from nni_cafenet import EqualBins, LatencyTable, WidthSpace
from nni_cafenet.latency.recorded_ops import recorded_operators
from nni_cafenet.latency.table import measure_table
from nni_cafenet.utils.json_records import write_record


@pytest.fixture(scope='module')
def table(joined, computed):
    return measure_table(joined, progress=False, clock=computed())


def real(space, widths, clock):
    return clock.model(space.slim(widths).eval(), space.example_input).median


def test_networks_take_what_they_take(table, joined, computed):
    # The computed clock is a sum of products of sizes, which the grids follow exactly, up to whole ns.
    rng = np.random.default_rng(1)
    clock = computed()
    for _ in range(5):
        widths = {label: int(rng.choice(allowed)) for label, allowed in joined.choices.items()}
        assert table.latency(widths) == pytest.approx(real(joined, widths, clock), rel=1e-3)
    assert table.error.worst < 1e-3
    assert table.error.rank_correlation == pytest.approx(1)
    assert table.error.widths == 6
    assert [share.scale for share in table.shares] == pytest.approx([2.0] * len(table.shares), rel=1e-2)
    assert table.calibration.scale / 65536 == pytest.approx(1, rel=1e-2)


def test_one_network_or_many(table, joined):
    rows = np.concatenate([joined.to_array(joined.full_widths), joined.to_array(joined.smallest_widths)])
    many = table.latency(rows)
    assert many.dtype == np.int64
    assert many.tolist() == [table.latency(joined.full_widths), table.latency(joined.smallest_widths)]
    assert type(table.latency(joined.full_widths)) is int
    assert table.latency(rows[:0]).shape == (0,)


@settings(deadline=None)
@given(st.data())
def test_latency_never_falls_when_a_width_grows(table, joined, data):
    full = joined.full_widths
    less = {label: data.draw(st.integers(1, width)) for label, width in full.items()}
    more = {label: data.draw(st.integers(less[label], width)) for label, width in full.items()}
    assert table.latency(less) <= table.latency(more)


def test_noisy_times_do_not_make_it_fall(joined, computed):
    class Noisy(computed):
        def operator(self, operator):
            return 1 + hash(operator.key) % 100_000

    table = measure_table(joined, progress=False, rounds=1, clock=Noisy())
    rng = np.random.default_rng(0)
    rows = rng.integers(1, np.array(list(joined.full_widths.values())) + 1, (500, len(joined.labels)))
    grown = np.minimum(rows + rng.integers(0, 4, rows.shape), list(joined.full_widths.values()))
    assert (table.latency(grown) >= table.latency(rows)).all()


def test_a_table_is_read_as_it_was_written(table, joined, tmp_path):
    table.save(tmp_path / 'lat.json')
    again = LatencyTable.load(tmp_path / 'lat.json')
    assert again == table
    assert again.fingerprint() == table.fingerprint()
    assert hash(again) == hash(table)
    rows = np.stack([joined.to_array(joined.uniform_widths(ratio))[0] for ratio in (0.2, 0.5, 0.9)])
    assert again.latency(rows).tolist() == table.latency(rows).tolist()
    other = dataclasses.replace(table, constant=table.constant + 1)
    assert other != table
    assert other.fingerprint() != table.fingerprint()
    assert table != 'lat.json'


def test_it_prints_what_takes_the_time(table):
    text = str(table)
    assert 'aten.convolution.default' in text
    assert 'a computed clock' in text
    assert 'batch 1, input (1, 3, 4, 4)' in text
    assert re.search(r'A network takes (1\.00|0\.99) x its operators \+ ', text)
    assert 'Error of the prediction: median 0.0 %' in text
    assert [share.operator for share in table.shares].count('aten.convolution.default') == 1
    assert {share.operator: share.calls for share in table.shares}['aten.convolution.default'] == 3


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, r'cannot be read: .*No such file'),
        ('not json', r'is damaged \(it cannot be read'),
        ('[]', 'is damaged .*measure one'),
        ({}, r"is not a latency table \(KeyError: 'format'\)"),
        ({'format': 99}, 'its format is 99, this version reads 1'),
        ({'format': 1, 'space': {}}, r"is not a latency table \(KeyError: 'device'\)\. Measure one"),
    ],
)
def test_another_file_is_refused(tmp_path, content, said):
    path = tmp_path / 'lat.json'
    if isinstance(content, dict):
        write_record(path, content)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=said) as error:
        LatencyTable.load(path)
    assert str(path) in str(error.value)


def test_wrong_widths_are_refused(table):
    with pytest.raises(ValueError, match=r"widths has the unknown label 'conv9'"):
        table.latency({'conv9': 3})
    with pytest.raises(
        ValueError, match=r'widths has the shape \(2, 2\); it must be \(N, \d\), a column for each label'
    ):
        table.latency(np.ones((2, 2), np.int64))


class Plain(nn.Module):
    def __init__(self, first: int = 8, dtype=torch.float32) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, first, dtype=dtype), nn.Linear(first, 2, dtype=dtype)

    def forward(self, x):
        return self.last(self.first(x).relu())


def plain(first=8, rows=4, dtype=torch.float32, ratio=0.5):
    return WidthSpace(Plain(first, dtype), example_input=(1, rows), bins=EqualBins(4), min_ratio=ratio)


@pytest.fixture(scope='module')
def small(computed):
    space = plain()
    return measure_table(space, progress=False, clock=computed())


def test_a_table_fits_its_space_with_other_bins(small):
    small.check(plain())
    small.check(WidthSpace(Plain(), example_input=(1, 4), bins=EqualBins(2), min_ratio=0.5))


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        (lambda: plain(first=16), 'table was measured for another space .MACs: 48 there, 96 here.*Measure this one'),
        (lambda: plain(dtype=torch.float64), 'dtype: float32 there, float64 here'),
        (lambda: plain(ratio=0), r'smallest width of .*: 4 there, 2 here'),
    ],
)
def test_a_table_of_another_space_is_refused(small, other, said):
    with pytest.raises(ValueError, match=said):
        small.check(other())


def test_other_groups_are_refused(table, joined, small):
    with pytest.raises(ValueError, match=r'channel groups: 1 there, 3 here, not all equal'):
        small.check(joined)


@pytest.mark.parametrize('name', ['resnet18', 'densenet121', 'mobilenet_v3_small'])
@pytest.mark.sweep
def test_families_take_what_they_take(family, computed, name):
    space, clock = family(name), computed()
    table = measure_table(space, progress=False, networks=4, rounds=1, clock=clock)
    assert table.error.worst < 0.02
    assert json.loads(json.dumps(table.to_json())) == table.to_json()


def test_a_real_measurement(tmp_path):
    space = plain(first=64)
    table = LatencyTable.measure(space, points=2, rounds=1, networks=0, held_out=2, threads=1, progress=False)
    smallest, full = table.latency(space.smallest_widths), table.latency(space.full_widths)
    assert 0 < smallest <= full < 10**9
    assert table.device == 'cpu'
    assert 'cpu, ' in table.environment
    assert ', 1 thread, torch ' in table.environment
    operators = {share.operator: share for share in table.shares}
    assert operators['aten.addmm.default'].calls == 2
    assert operators['aten.addmm.default'].time > 0
    assert len(recorded_operators(space.slim(space.full_widths), space.example_input)) == 3
    table.save(tmp_path / 'lat.json')
    assert LatencyTable.load(tmp_path / 'lat.json') == table
