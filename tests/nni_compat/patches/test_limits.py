from __future__ import annotations

import copy

import nni.experiment.launcher as launcher
import pytest
from nni.nas.experiment import NasExperimentConfig
from requests.exceptions import ConnectionError as NoConnection

from nni_cafenet.nni_compat.patches import limits, patch_nni


class Manager:
    """The profile that the manager of a resumed experiment has in its data base."""

    def __init__(self, **params):
        self.params, self.updates = params, []

    def get(self, port, api, prefix):
        assert (port, api, prefix) == (8080, '/experiment', 'pre')
        return {'params': copy.deepcopy(self.params), 'revision': 3}

    def put(self, port, api, profile, prefix):
        assert (port, prefix) == (8080, 'pre')
        self.updates.append(api.partition('update_type=')[2])
        self.params = profile['params']


@pytest.fixture
def start(monkeypatch):
    """``start(manager, action, **limits)``: start an experiment as NNI does."""
    monkeypatch.setattr(launcher, 'start_experiment', released)
    limits.give_limits_to_resumed_experiments()

    def start(manager, action='resume', **settings):
        config = NasExperimentConfig('ts', 'simplified', 'local', **{'trial_concurrency': 2, **settings})
        monkeypatch.setattr(limits, 'rest', manager)
        return launcher.start_experiment(
            action, 'exp', config.canonical_copy(), 8080, False, None, 'pre', 'ws://', tags=[]
        )

    return start


def released(action, exp_id, config, port, debug, run_mode, url_prefix, tuner_command_channel=None, tags=()):
    """NNI's function; the manager has what it had."""
    return f'{action} {exp_id}'


def test_other_limits_are_sent(start):
    manager = Manager(trialConcurrency=1, maxTrialNumber=5, maxExperimentDuration='1s', experimentName='mine')
    assert start(manager, max_trial_number=9, max_experiment_duration='2h') == 'resume exp'
    assert manager.params == {
        'trialConcurrency': 2,
        'maxTrialNumber': 9,
        'maxExperimentDuration': '2h',
        'experimentName': 'mine',
    }
    assert manager.updates == ['TRIAL_CONCURRENCY', 'MAX_TRIAL_NUM', 'MAX_EXEC_DURATION']


def test_limits_that_are_left_out_are_none(start):
    manager = Manager(trialConcurrency=2, maxTrialNumber=5, maxExperimentDuration=10)
    start(manager)
    assert manager.params == {'trialConcurrency': 2}  # no null: NNI takes that for a limit of 0
    assert manager.updates == ['MAX_TRIAL_NUM', 'MAX_EXEC_DURATION']


def test_the_same_limits_are_not_sent(start):
    manager = Manager(trialConcurrency=2, maxTrialNumber=5)
    start(manager, max_trial_number=5)
    assert manager.updates == []


def test_new_experiments_are_left_alone(start):
    manager = Manager(trialConcurrency=1)
    assert start(manager, 'create') == 'create exp'
    assert start(manager, 'view') == 'view exp'
    assert manager.updates == []


def test_a_manager_that_does_not_answer(start, caplog):
    class Gone(Manager):
        def get(self, *_):
            raise NoConnection('refused')

    assert start(Gone()) == 'resume exp'
    assert 'keeps its former limits: refused' in caplog.text


def test_mending_twice_changes_nothing(start):
    before = launcher.start_experiment
    patch_nni()
    assert launcher.start_experiment is before
