from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nni_cafenet import EqualBins, WidthSpace
from nni_cafenet.errors import FolderError, FolderInUseError, ResumeError
from nni_cafenet.latency.calibration import Calibration, PredictionError
from nni_cafenet.latency.interpolation import Axis, Term
from nni_cafenet.latency.table import LatencyTable, identity
from nni_cafenet.options import BudgetSpec
from nni_cafenet.stages import latency_table as latency
from nni_cafenet.stages.folder_lock import locked_folder
from nni_cafenet.stages.latency_table import check_directory, table_of_run

FIRST = SimpleNamespace(is_global_zero=True, world_size=1)
OTHER = SimpleNamespace(is_global_zero=False, world_size=2)
SPEC = {'latency': '50%'}


@pytest.fixture
def space():
    return WidthSpace(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), example_input=(1, 4), bins=EqualBins(4)
    )


def table_of(space, nanoseconds=1000, batch=1):
    (label,) = space.labels
    points = torch.tensor(space.choices[label]).numpy()
    term = Term((Axis.of({label: 1}),), (points,), nanoseconds * points)
    return LatencyTable(
        identity(space), 'cpu', 'torch', batch, 'here', 0, (term,), Calibration(), PredictionError(0.0, 0.0, 1.0, 2)
    )


@pytest.fixture
def measured(monkeypatch, space):
    """How often a table was measured, and with what."""
    calls = []

    def measure(space, **options):
        calls.append(options)
        return table_of(space, batch=options['batch'])

    monkeypatch.setattr(LatencyTable, 'measure', measure)
    return calls


def test_a_run_measures_once_and_keeps_the_table(space, measured, tmp_path):
    folder = tmp_path / 'run'
    table = table_of_run(BudgetSpec.of(SPEC), space, folder, FIRST)
    assert len(measured) == 1
    assert measured[0]['cache'] == folder / 'latency_times.jsonl'
    assert LatencyTable.load(folder / 'latency.json') == table
    assert table_of_run(BudgetSpec.of(SPEC), space, folder, FIRST) == table
    assert table_of_run(BudgetSpec.of(SPEC), space, folder, OTHER) == table
    assert len(measured) == 1


@pytest.mark.parametrize('spec', ['50%', 3e8, {'macs': '50%'}])
def test_without_a_latency_there_is_no_table(space, measured, tmp_path, spec):
    assert table_of_run(BudgetSpec.of(spec), space, tmp_path / 'run', FIRST) is None
    assert measured == []
    assert not (tmp_path / 'run').exists()


def test_a_given_table_is_kept_and_another_one_refused(space, measured, tmp_path):
    given = table_of(space, 5)
    assert table_of_run(BudgetSpec.of({**SPEC, 'table': given}), space, tmp_path, FIRST) == given
    assert table_of_run(BudgetSpec.of(SPEC), space, tmp_path, FIRST) == given  # resumed without it
    assert measured == []
    with pytest.raises(ResumeError, match=r'directory=.* budget\[.table.\]'):
        table_of_run(BudgetSpec.of({**SPEC, 'table': table_of(space, 6)}), space, tmp_path, FIRST)


def test_a_run_of_another_batch_is_refused(space, measured, tmp_path):
    table_of_run(BudgetSpec.of({**SPEC, 'batch': 4}), space, tmp_path / 'one', FIRST)
    with pytest.raises(ValueError, match=r'latency.json was measured with batch=4, but budget\[.batch.\]=2'):
        table_of_run(BudgetSpec.of({**SPEC, 'batch': 2}), space, tmp_path / 'one', FIRST)


def test_a_damaged_table_is_named(space, tmp_path):
    (tmp_path / 'latency.json').write_text('{')
    with pytest.raises(ValueError, match=r'latency.json is damaged .*measure one'):
        table_of_run(BudgetSpec.of(SPEC), space, tmp_path, FIRST)


def test_two_processes_do_not_measure_in_one_folder(space, measured, tmp_path):
    with locked_folder(tmp_path), pytest.raises(FolderInUseError):
        table_of_run(BudgetSpec.of(SPEC), space, tmp_path, FIRST)
    assert measured == []


def test_a_folder_that_cannot_be_made(space, measured, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(FolderError, match='directory=.*latency table'):
        table_of_run(BudgetSpec.of(SPEC), space, tmp_path / 'file' / 'run', FIRST)


def test_other_processes_wait_and_give_up(space, tmp_path, monkeypatch):
    monkeypatch.setattr(latency, '_PATIENCE', 0.0)
    monkeypatch.setattr(latency.time, 'sleep', lambda seconds: None)
    with pytest.raises(FolderError, match='was not written by the first process of this run'):
        table_of_run(BudgetSpec.of(SPEC), space, tmp_path, OTHER)


def test_several_processes_need_a_directory(tmp_path):
    with pytest.raises(ValueError, match='directory=None: .*latency'):
        check_directory(BudgetSpec.of(SPEC), None, OTHER)
    check_directory(BudgetSpec.of(SPEC), tmp_path, OTHER)
    check_directory(BudgetSpec.of(SPEC), None, FIRST)
    check_directory(BudgetSpec.of('50%'), None, OTHER)
