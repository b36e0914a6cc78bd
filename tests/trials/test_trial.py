from __future__ import annotations

import json

import nni
import nni.trial
import pytest
import requests
from nni.runtime.trial_command_channel import get_default_trial_command_channel

from nni_cafenet.trials import trial as trial_module
from nni_cafenet.trials.heartbeat import RunHeartbeat
from nni_cafenet.trials.trial import CafeNetTrial


def trial(path):
    return CafeNetTrial(str(path), 'the key', {'stage': 'search', 'MACs': 5}, {'widths': {'a': 8}})


@pytest.fixture
def in_trial(tmp_path, monkeypatch):
    """What a trial process of NNI has: the id of its job, and a parameter that another trial was to get."""
    monkeypatch.setenv('NNI_TRIAL_JOB_ID', 'job1')
    monkeypatch.setattr(nni.trial, '_params', {'parameter_id': 7})
    monkeypatch.setattr('nni_cafenet.trials.heartbeat.TrialClient.watch', lambda seat: None)
    return tmp_path


def test_what_nni_sends_and_makes_again():
    sent = json.loads(nni.dump(trial('/there')))
    assert sent['mutation_summary'] == {'stage': 'search', 'MACs': 5}
    assert sent['details'] == {'widths': {'a': 8}}
    again = nni.load(nni.dump(trial('/there')))
    assert isinstance(again, CafeNetTrial)
    assert again._dump() == trial('/there')._dump()
    assert repr(again) == "CafeNetTrial(task='the key', run='/there')"


def test_it_does_what_its_job_was_assigned(in_trial, monkeypatch):
    RunHeartbeat(in_trial).assign('job1', {'stage': 'finalist', 'finalist': {'name': '2'}, 'parameter_id': 3})
    done = []
    monkeypatch.setattr(trial_module, 'run_task', lambda folder, task: done.append((folder.path, task['finalist'])))
    trial(in_trial).execute()
    assert done == [(in_trial, {'name': '2'})]
    assert nni.trial._params['parameter_id'] == 3  # its results belong to the job, whosever parameter came


def test_results_that_nobody_takes_do_not_end_it(in_trial, monkeypatch, caplog):
    def refused(*_, **__):
        raise requests.exceptions.ConnectionError('Connection refused')

    RunHeartbeat(in_trial).assign('job1', {'stage': 'search', 'parameter_id': 3})
    channel = get_default_trial_command_channel()
    monkeypatch.setattr(channel, 'send_metric', refused)
    monkeypatch.setattr(trial_module, 'run_task', lambda folder, task: nni.report_final_result(0.5))
    trial(in_trial).execute()
    assert 'could not be reported to NNI (Connection refused)' in caplog.text
    assert get_default_trial_command_channel() is channel


def test_a_folder_that_is_not_on_its_machine(in_trial):
    with pytest.raises(FileNotFoundError, match='trial_directory') as error:
        trial(in_trial / 'elsewhere').execute()
    assert str(in_trial / 'elsewhere') in str(error.value)
