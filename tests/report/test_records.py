"""All that a report shows, as records and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from nni_cafenet.report.records import CandidateRecord, LayerCost, NetworkRecord, RunReport

FULL = NetworkRecord('full', 'full', {'a': 8}, 800, 80, before=0.9, layers=(LayerCost('a', 800, 'a'),))
SLIM = NetworkRecord(
    'pruned to 50%',
    'pruned',
    {'a': 4},
    400,
    40,
    inherited=0.5,
    finetuned=math.nan,
    measured_ns=1.5e6,
    measured_range=(1.4e6, 1.7e6),
)


def report(**changes) -> RunReport:
    values = {
        'title': 'Net pruned',
        'model': 'Net',
        'settings': {'budget': '50%'},
        'full_widths': {'a': 8},
        'networks': (FULL, SLIM),
        'metric': 'accuracy',
        'candidates': (CandidateRecord(400, 40, 0.25, True), CandidateRecord(300, 30, math.nan)),
        'budgets': {'50%': 400},
        'curves': {'supernet': {'loss': ((0, 2.5), (1, math.inf))}},
        'notes': ('fc is an output of the model',),
        'loading': ('import torch',),
    }
    return RunReport(**{**values, **changes})


def test_json_brings_everything_back():
    text = json.dumps(report().to_json(), allow_nan=False)
    back = RunReport.from_json(json.loads(text))
    assert str(back) == str(report())
    assert back.networks[0] == FULL
    assert math.isnan(back.networks[1].finetuned)


def test_scalars_of_numpy_are_numbers():
    slim = dataclasses.replace(SLIM, widths={'a': np.int64(4)}, finetuned=np.float32('nan'))
    record = report(networks=(FULL, slim)).to_json()
    assert record['networks'][1]['finetuned'] == 'nan'
    assert json.loads(json.dumps(record))['networks'][1]['widths'] == {'a': 4}


def test_networks_by_their_role():
    assert report().full == FULL
    assert report().pruned == (SLIM,)


@pytest.mark.parametrize(
    ('networks', 'says'),
    [
        ((FULL, dataclasses.replace(SLIM, name='full')), 'unique names'),
        (
            (FULL, dataclasses.replace(SLIM, role='small')),
            r"roles \['small'\]; a role is one of full, baseline, pruned",
        ),
        ((SLIM,), r"exactly one must have the role 'full', not \[\]"),
        ((FULL, dataclasses.replace(SLIM, name='x', role='full')), 'exactly one'),
        ((FULL, dataclasses.replace(SLIM, widths={'b': 4})), r"'pruned to 50%' must name the groups.*\['a', 'b'\]"),
    ],
)
def test_networks_that_make_no_report(networks, says):
    with pytest.raises(ValueError, match=says):
        report(networks=networks)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'format': 2}, 'format 2, this version reads 1'),
        ({'networks': None}, 'incomplete, or another version'),
        ({'color': 'red'}, 'color'),
    ],
)
def test_a_file_of_another_kind_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        RunReport.from_json({**report().to_json(), **change})


def test_a_missing_entry_is_named():
    record = report().to_json()
    del record['curves']
    with pytest.raises(ValueError, match="incomplete.*'curves'"):
        RunReport.from_json(record)
