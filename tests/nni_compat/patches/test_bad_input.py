"""What reaches NNI's manager malformed, from those who have the token, too: the experiment goes on."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

PARAMETER = {'parameter_id': 0, 'parameter_source': 'algorithm', 'parameters': {'x': 1}, 'parameter_index': 0}
MESSAGES = [
    'no JSON',
    '',
    'null',
    '[]',
    '1',
    '{}',
    '{"type": 3}',
    '{"type": "error"}',
    '{"type": "__close"}',
    '{"type": "__error", "content": "x"}',
    '{"type": "nothing known"}',
    '{"type": "TR", "content": "no JSON"}',
    '{"type": "TR"}',
    '{"type": "TR", "content": "null"}',
    '{"type": "TR", "content": "[1]"}',
    '{"type": "SP", "content": "{}"}',
    '{"type": "KI", "content": "\\"nobody\\""}',
    '{"type": "KI", "content": "{}"}',
]
PROFILES = [
    ('', {}),
    ('?update_type=TRIAL_CONCURRENCY', {}),
    ('?update_type=TRIAL_CONCURRENCY', []),
    ('?update_type=TRIAL_CONCURRENCY', {'params': None}),
    ('?update_type=TRIAL_CONCURRENCY', {'params': {'trialConcurrency': 'many'}}),
    ('?update_type=TRIAL_CONCURRENCY', {'params': {'trialConcurrency': -1}}),
    ('?update_type=MAX_TRIAL_NUM', {'params': {'maxTrialNumber': None}}),
    ('?update_type=MAX_EXEC_DURATION', {'params': {'maxExperimentDuration': 'long'}}),
    ('?update_type=SEARCH_SPACE', {'params': {}}),
    ('?update_type=constructor', {'params': {}}),
]


@pytest.fixture(scope='module')
def running(start_manager, until):
    """An experiment with one trial that runs; ``(manager, tell, id of the trial)``."""
    manager = start_manager().wait()
    with manager.experiment() as tell:
        tell('TR', PARAMETER)
        (trial,) = until(lambda: [each for each in manager.trials() if each['status'] == 'RUNNING'])
        yield manager, tell, trial['trialJobId']


@pytest.fixture
def goes_on(running):
    """The experiment is none the worse for a test."""
    yield
    manager, _, trial = running
    assert manager.process.poll() is None
    assert json.loads(manager.api('GET', 'check-status')[1]) == {'status': 'RUNNING', 'errors': []}
    assert [(each['trialJobId'], each['status']) for each in manager.trials()] == [(trial, 'RUNNING')]
    profile = json.loads(manager.api('GET', 'experiment')[1])
    assert profile['params']['trialConcurrency'] == 1


def test_neither_it_nor_its_trial_listens_elsewhere(running):
    manager, *_ = running
    assert psutil.Process(manager.process.pid).children()
    assert {host for host, _ in manager.listening()} <= {'127.0.0.1', '::1'}


@pytest.mark.usefixtures('goes_on')
@pytest.mark.parametrize('message', MESSAGES)
def test_messages(running, message):
    manager, tell, _ = running
    tell.channel.send(message)
    tell.channel.send(message.encode())
    tell('SS', message)


@pytest.mark.usefixtures('goes_on')
def test_a_second_channel_for_a_strategy(running):
    manager, *_ = running
    with manager.connect(f'/{manager.prefix}/tuner/other') as channel:
        with contextlib.suppress(ConnectionClosed):  # it may be closed before that is sent
            channel.send(json.dumps({'type': 'ER', 'content': 'x'}))
        with pytest.raises(ConnectionClosed):
            channel.recv(10)


@pytest.mark.usefixtures('goes_on')
@pytest.mark.parametrize('kind', ['application/json', 'text/plain', 'application/octet-stream'])
@pytest.mark.parametrize('body', ['{}', '[]', '{"lr": 1}', '"x"', 'no JSON', ''])
def test_trials_are_not_added_by_hand(running, body, kind):
    manager, _, _ = running
    status, text, _ = manager.api('POST', 'trial-jobs', body, Content_Type=kind)
    assert status in (400, 500)
    assert 'models that its strategy makes' in text or kind == 'application/json'
    assert manager.request('POST', '/api/v1/nni/trial-jobs', body, Content_Type=kind)[0] == 403


@pytest.mark.usefixtures('goes_on')
@pytest.mark.parametrize(('query', 'profile'), PROFILES)
def test_profiles(running, query, profile):
    manager, _, _ = running
    assert manager.api('PUT', f'experiment{query}', profile)[0] == 500


@pytest.mark.usefixtures('goes_on')
def test_trials_that_are_not_there(running):
    manager, _, _ = running
    for word in ('nobody', '%F0%9F%98%80', 'constructor', '__proto__'):
        assert manager.api('DELETE', f'trial-jobs/{word}')[0] == 500
        assert manager.api('GET', f'trial-file/{word}/stderr')[0] == 500
        assert manager.api('POST', 'tensorboard', {'trials': word})[0] == 400
    for body in ({}, {'trials': None}, {'trials': '../..'}, {'trials': 'a; touch /tmp/x'}, []):
        assert manager.api('POST', 'tensorboard', body)[0] == 400


@pytest.mark.usefixtures('goes_on')
def test_metrics_of_a_trial_that_are_none(running):
    manager, _, trial = running
    address = trial_address(manager, trial)
    none = [{'type': 'metric', 'metric': text} for text in ('no JSON', '{}', '{"trial_job_id": "other"}', 3)]
    for body in ('{}', '[]', '{"type": "metric"}', '{"type": "nothing"}', *none):
        assert manager.request('PUT', address, body)[0] in (200, 400, 500)


@pytest.mark.usefixtures('goes_on')
def test_the_key_of_a_trial_is_for_its_channel_alone(running):
    manager, _, trial = running
    address = trial_address(manager, trial)
    key = address.split('/')[1]
    assert manager.prefix not in address
    assert manager.request('PUT', address, {'type': 'nothing'})[0] == 200
    for path in ('env/local-env/other', 'tuner', 'api/v1/nni/version', 'logs/nnimanager.log', 'oview'):
        assert manager.request('GET', f'/{key}/{path}')[0] == 403
    assert manager.request('PUT', f'/env/local-env/{trial}', {'type': 'nothing'})[0] == 403


@pytest.mark.usefixtures('goes_on')
def test_files_of_a_trial(running, tmp_path):
    manager, _, trial = running
    (folder,) = manager.root.glob(f'nni/mine/environments/*/trials/{trial}')
    (tmp_path / 'secret').write_text('a file of the user')
    (folder / 'trial.stdout').write_text(f'Connect to {trial_address(manager, trial)}')
    (folder / 'model.txt').write_text('weights')
    (folder / 'link').symlink_to(tmp_path / 'secret')
    (folder / 'below').symlink_to(tmp_path)
    for name in ('stdout', 'stderr'):
        assert manager.api('GET', f'trial-file/{trial}/{name}')[0] == 200
    assert manager.api('GET', f'trial-file/{trial}/model.txt')[1] == 'weights'
    shown = manager.request('GET', f'/api/v1/nni/trial-file/{trial}/stdout')
    assert shown[:2] == (200, f'Connect to /~{"*" * 32}/env/local-env/{trial}')  # without the key in it
    assert manager.request('GET', f'/api/v1/nni/trial-file/{trial}/model.txt')[0] == 403
    for name in ('link', 'below', 'nothing', 'below%00', 'trial.log'):
        assert manager.api('GET', f'trial-file/{trial}/{name}')[0] in (400, 500)


@pytest.mark.usefixtures('goes_on')
def test_tensorboard_listens_on_loopback_alone(running, until):
    manager, _, trial = running
    out = manager.root / 'arguments'
    assert manager.api('POST', 'tensorboard', {'trials': trial})[0] == 200
    until(out.exists)
    assert '--host 127.0.0.1 --logdir_spec=' in out.read_text()
    assert '--bind_all' not in out.read_text()


def trial_address(manager, trial):
    """The path of a trial's channel, as its process is told."""
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            environment = Path('/proc', pid, 'environ').read_text().split('\0')
        except OSError:
            continue
        values = dict(each.partition('=')[::2] for each in environment)
        if values.get('NNI_TRIAL_JOB_ID') == trial:
            assert 'NNI_CAFENET_MANAGER' not in values
            return '/' + values['NNI_TRIAL_COMMAND_CHANNEL'].split('/', 3)[3]
    raise AssertionError('The trial has no process.')
