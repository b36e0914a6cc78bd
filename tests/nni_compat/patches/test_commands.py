from __future__ import annotations

import base64
import json
import os
import pickle

import nni
import numpy as np
import pytest
from nni.runtime.tuner_command_channel import TunerCommandChannel
from nni.runtime.tuner_command_channel.command_type import CommandType, ReportMetricData, RequestTrialJobs, TrialEnd

from nni_cafenet.nni_compat.patches import patch_nni

patch_nni()


class Channel(TunerCommandChannel):
    """A channel on which the manager has sent some commands."""

    def __init__(self, *commands):
        super().__init__('ws://localhost:1/tuner')
        self.commands = list(commands)

    def _receive(self):
        return self.commands.pop(0)


AT_A_RESUME = [(CommandType.ImportData, '[]'), (CommandType.AddCustomizedTrialJob, '{}')]


def test_released_nni_stops_listening_at_a_resume():
    with pytest.raises(ValueError, match='Unknown command type'):
        TunerCommandChannel.receive.__wrapped__(Channel(*AT_A_RESUME))


def test_what_the_channel_does_not_know_is_passed_over():
    channel = Channel(*AT_A_RESUME, (CommandType.RequestTrialJobs, '2'))
    assert channel.receive() == RequestTrialJobs(2)
    assert channel.commands == []


class Code:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def metric(value):
    record = {'parameter_id': 1, 'trial_job_id': 'a', 'type': 'FINAL', 'sequence': 0, 'value': value}
    return CommandType.ReportMetricData, json.dumps(record)


@pytest.mark.parametrize('way', ['pickle', 'symbol', 'enum', 'nested', 'class'])
def test_metrics_do_not_run_code(tmp_path, caplog, way):
    made = tmp_path / 'made'
    pickled = {'__nni_type__': 'bytes:' + base64.b64encode(pickle.dumps(Code(made))).decode()}
    value = {
        'pickle': pickled,
        'symbol': {'__symbol__': 'path:os.mkdir', '__args__': [str(made)]},
        'enum': {'__enum__': {'__enum_instance_type__': ['antigravity', 'x'], 'name': 'y'}},
        'nested': {'default': [0.5, {'more': pickled}]},
        'class': {'__instance_type__': ['subprocess', 'Popen'], 'attributes': {}},
    }[way]
    channel = Channel(metric(json.dumps(value)), metric('0.5'))
    assert channel.receive().value == 0.5
    assert not made.exists()
    assert 'a metric that would run code' in caplog.text


@pytest.mark.parametrize('value', [0.5, {'default': 0.5, 'macs': 3}, [1, None], 'text', np.float64(0.25), np.arange(3)])
def test_metrics_of_values_arrive(value):
    found = Channel(metric(nni.dump(value))).receive()
    assert isinstance(found, ReportMetricData)
    np.testing.assert_equal(found.value, value)


def test_of_the_parameters_of_a_trial_the_id_counts(tmp_path):
    made = tmp_path / 'made'
    parameters = {'__nni_type__': 'bytes:' + base64.b64encode(pickle.dumps(Code(made))).decode()}
    record = {'parameter_id': 7, 'parameter_source': 'algorithm', 'parameters': parameters, 'parameter_index': 0}
    end = {'trial_job_id': 'a', 'event': 'FAILED', 'hyper_params': json.dumps(record)}
    found = Channel((CommandType.TrialEnd, json.dumps(end))).receive()
    assert found == TrialEnd('a', [7], 'FAILED')
    assert not made.exists()


@pytest.mark.parametrize(
    'command',
    [
        (CommandType.RequestTrialJobs, json.dumps('two')),
        (CommandType.RequestTrialJobs, 'no JSON'),
        (CommandType.TrialEnd, '{}'),
        (
            CommandType.TrialEnd,
            json.dumps({'trial_job_id': 'a', 'event': 'FAILED', 'hyper_params': '{"parameters": {}}'}),
        ),
        (CommandType.ReportMetricData, '{"unknown": 1}'),
        metric('no JSON'),
    ],
)
def test_malformed_messages_are_passed_over(command, caplog):
    assert Channel(command, (CommandType.RequestTrialJobs, '2')).receive() == RequestTrialJobs(2)
    assert 'Skipped a message of the NNI manager' in caplog.text


def test_mending_twice_changes_nothing():
    before = TunerCommandChannel.receive
    patch_nni()
    assert TunerCommandChannel.receive is before
