from __future__ import annotations

import logging

import nni.experiment.launcher as launcher
import pytest
from nni.experiment import Experiment
from nni.experiment.config import RemoteConfig, RemoteMachineConfig
from nni.nas.experiment import NasExperiment, NasExperimentConfig

from nni_cafenet.nni_compat.patches import credentials, patch_nni
from nni_cafenet.nni_compat.patches.credentials import split

TOKEN = '~' + 'a' * 32


@pytest.mark.parametrize(
    ('prefix', 'parts'),
    [
        (None, ('', None)),
        ('', ('', None)),
        ('/own/', ('own', None)),
        (TOKEN, ('', 'a' * 32)),
        (f'/own/part/{TOKEN}/', ('own/part', 'a' * 32)),
        ('~short', ('~short', None)),
        (f'{TOKEN}/own', (f'{TOKEN}/own', None)),
    ],
)
def test_split(prefix, parts):
    assert split(prefix) == parts


@pytest.fixture
def start(monkeypatch, caplog):
    """``start(config, experiment)``: start the manager of an experiment, and return what the launcher was told."""
    patch_nni()
    told = {}

    def start_experiment(action, exp_id, config, port, debug, run_mode, url_prefix, tuner_command_channel, tags):
        told.update(prefix=url_prefix, channel=tuner_command_channel, address=credentials.address.get())
        return object()

    monkeypatch.setattr(launcher, 'start_experiment', start_experiment)
    caplog.set_level(logging.INFO, 'nni.experiment')

    def start(config=None, experiment=None, **settings):
        if experiment is None:
            experiment = NasExperiment.__new__(NasExperiment)
            given = NasExperimentConfig('ts', 'simplified', 'local', trial_concurrency=1, **settings)
            Experiment.__init__(experiment, config or given)
        experiment._start_nni_manager(8123, False)
        assert credentials.address.get() is None
        return experiment, dict(told)

    return start


def test_an_experiment_has_a_token_and_says_its_address(start, caplog):
    experiment, told = start()
    own, token = split(experiment.url_prefix)
    assert (own, len(token)) == ('', 32)
    assert told == {'prefix': experiment.url_prefix, 'channel': f'ws://localhost:8123/~{token}/tuner', 'address': None}
    assert experiment.tuner_command_channel == told['channel']
    said = [record.getMessage() for record in caplog.records]
    assert said == [f'Web portal: ${{CYAN}}http://127.0.0.1:8123/~{token}']  # NNI's own names all networks


def test_each_start_has_another_token_and_keeps_the_prefix_of_the_user(start):
    experiment, first = start()
    experiment.url_prefix = 'own/' + experiment.url_prefix
    _, second = start(experiment=experiment)
    assert second['prefix'] == experiment.url_prefix
    assert split(second['prefix'])[0] == 'own'
    assert split(second['prefix'])[1] != split(first['prefix'])[1]


def test_an_experiment_that_is_not_of_nas(start):
    patch_nni()
    experiment = Experiment('local')
    experiment.config.search_space, experiment.config.trial_command = {}, 'true'
    experiment.config.trial_concurrency = 1
    experiment.config.tuner.name = 'Random'
    _, told = start(experiment=experiment)
    assert split(told['prefix'])[1]
    assert told['channel'] is None


@pytest.mark.parametrize(
    ('named', 'address'),
    [
        (None, None),
        ('127.0.0.1', None),
        ('::1', None),
        ('localhost', None),
        ('10.0.0.5',) * 2,
        ('0.0.0.0',) * 2,
    ],
)
def test_the_address_is_that_of_the_configuration(start, caplog, named, address):
    assert start(nni_manager_ip=named)[1]['address'] == address
    assert len(caplog.records) == (1 if address is None else 2)


@pytest.mark.parametrize('named', ['10.0.0.5/24', 'http://10.0.0.5', 'a b', ''])
def test_an_address_that_is_none(start, named):
    with pytest.raises(ValueError, match=r"nni_manager_ip='.*': the address or the name of this machine"):
        start(nni_manager_ip=named)


def test_trials_on_other_machines_need_an_address(start, tmp_path):
    (tmp_path / 'key').touch()
    machine = RemoteMachineConfig(host='other', user='me', ssh_key_file=str(tmp_path / 'key'))
    config = NasExperimentConfig('ts', 'simplified', 'remote', trial_concurrency=1)
    config.training_service = RemoteConfig(machine_list=[machine])
    with pytest.raises(ValueError, match=r"nni_manager_ip: trials of the training service 'remote' .* '10.0.0.5'"):
        start(config)
    config.nni_manager_ip = '10.0.0.7'
    assert start(config)[1]['address'] == '10.0.0.7'


def test_an_experiment_that_is_connected_to(monkeypatch):
    patch_nni()
    monkeypatch.setattr(Experiment, 'get_experiment_profile', lambda self: {'id': 'mine'})
    monkeypatch.setattr(Experiment, 'get_status', lambda self: 'RUNNING')
    monkeypatch.setattr(Experiment, 'get_experiment_metadata', lambda self, id: {'pid': None})
    listed = {'mine': {'prefixUrl': TOKEN}, 'other': {'prefixUrl': 'x'}}
    monkeypatch.setattr(
        credentials, 'Experiments', lambda: type('Experiments', (), {'get_all_experiments': lambda self: listed})()
    )
    assert Experiment.connect(8123).url_prefix == TOKEN
    assert NasExperiment.connect.__self__ is NasExperiment
    listed.clear()
    assert Experiment.connect(8123).url_prefix is None


def test_mending_twice_changes_nothing():
    patch_nni()
    before = Experiment._start_nni_manager, NasExperiment._start_nni_manager
    patch_nni()
    assert (Experiment._start_nni_manager, NasExperiment._start_nni_manager) == before
