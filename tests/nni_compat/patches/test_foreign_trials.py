from __future__ import annotations

import json

import pytest
from nni.experiment.data import TrialJob

from nni_cafenet.nni_compat.patches import patch_nni

GOOD = {'parameter_id': 3, 'parameter_source': 'algorithm', 'parameters': {'x': 1}, 'parameter_index': 0}
METRIC = {'timestamp': 1, 'trialJobId': 'abc', 'parameterId': 3, 'type': 'FINAL', 'sequence': 0, 'data': '"0.5"'}


def job(*parameters, metrics=()):
    patch_nni()
    return TrialJob(
        trialJobId='abc',
        status='RUNNING',
        startTime=1,
        sequenceId=2,
        hyperParameters=parameters,
        finalMetricData=metrics,
    )


def test_trials_of_a_strategy():
    found = job(json.dumps(GOOD), metrics=[METRIC])
    assert vars(found.hyperParameters[0]) == {**GOOD, 'placement_constraint': None, 'version_info': None}
    assert found.finalMetricData[0].data == 0.5


@pytest.mark.parametrize(
    'text',
    ['{}', 'null', '[1]', '"x"', 'no JSON', '{"parameter_id": null, "parameter_source": "customized", "parameters": {}}',
     '{"parameter_index": 0, "unknown": 1}'],
)  # fmt: skip
def test_trials_of_others(text):
    (found,) = job(text).hyperParameters
    assert (found.parameter_id, found.parameter_index) == (-1, 0)


@pytest.mark.parametrize('metric', [{}, {**METRIC, 'data': 'no JSON'}, {**METRIC, 'more': 1}, 'x'], ids=str)
def test_metrics_of_others(metric):
    assert [each.data for each in job(json.dumps(GOOD), metrics=[metric, METRIC]).finalMetricData] == [0.5]


def test_mending_twice_changes_nothing():
    patch_nni()
    before = TrialJob.__init__
    patch_nni()
    assert TrialJob.__init__ is before
