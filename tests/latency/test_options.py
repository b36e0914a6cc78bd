from __future__ import annotations

import pytest

from nni_cafenet.latency.options import LatencyOptions
from nni_cafenet.latency.table import measure_table


@pytest.fixture
def table(joined, computed):
    return measure_table(joined, progress=False, rounds=1, clock=computed())


def test_what_a_budget_says():
    assert LatencyOptions.of({'latency': '5ms'}) == LatencyOptions()
    said = {'latency': '5ms', 'macs': '50%', 'device': 'cuda:1', 'batch': 8, 'threads': 2, 'runtime': 'torch'}
    assert LatencyOptions.of(said) == LatencyOptions('cuda:1', 8, 2, 'torch')


def test_a_table_is_given_or_read(joined, table, tmp_path):
    path = tmp_path / 'lat.json'
    table.save(path)
    for given in (table, path, str(path)):
        options = LatencyOptions(table=given)
        options.check(joined)
        assert options.table_for(joined) == table
    LatencyOptions('cpu', 1, None, 'torch', table).check(joined)


def test_a_table_is_measured(joined, computed, monkeypatch, tmp_path):
    monkeypatch.setattr('nni_cafenet.latency.runtimes.Clock', computed)
    cache = tmp_path / 'times.jsonl'
    table = LatencyOptions(batch=2, threads=3).table_for(joined, cache)
    assert (table.device, table.batch, table.environment) == ('cpu', 2, 'a computed clock, 3 threads')
    assert cache.exists()


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        ({'batch': 0}, r"budget\['batch'\]=0 must be a whole number, 1 or more"),
        ({'threads': 'all'}, r"budget\['threads'\]='all' must be a whole number"),
        ({'device': 'toaster'}, "device='toaster' is not a device of torch"),
        ({'runtime': 'abacus'}, r"budget\['runtime'\]='abacus' must be 'torch', 'onnxruntime', "),
        ({'runtime': len}, r"budget\['runtime'\]=.* must be a name. Measure a table by the function, and give that"),
        ({'table': 7}, r"budget\['table'\]=7 must be a LatencyTable or the path of one"),
        ({'table': 'missing.json'}, r"The latency table 'missing.json' cannot be read: .*No such file"),
    ],
)
def test_what_cannot_work_is_refused(joined, said, message):
    with pytest.raises(ValueError, match=message):
        LatencyOptions.of({'latency': '50%', **said}).check(joined)


def test_a_table_that_was_measured_otherwise_is_refused(joined, table):
    with pytest.raises(ValueError, match=r"was measured with batch=1, but budget\['batch'\]=2: leave 'batch' out, or"):
        LatencyOptions(batch=2, table=table).check(joined)
    with pytest.raises(ValueError, match=r"was measured with device='cpu', but budget\['device'\]='cuda'"):
        LatencyOptions(device='cuda', table=table).check(joined)
    with pytest.raises(ValueError, match=r"was measured with runtime='torch', but budget\['runtime'\]='onnxruntime'"):
        LatencyOptions(runtime='onnxruntime', table=table).check(joined)
