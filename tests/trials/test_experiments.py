"""What goes wrong in an experiment of NNI, and what a user is told: each with a real manager."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest
from nni.experiment import rest

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(1500)]


def wait_until(condition, seconds=400.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f'not true within {seconds} seconds'
        time.sleep(0.02)
    return value


def parameters(trial):
    return json.loads(trial['hyperParameters'][0])['parameters']


def trials(run):
    """All trials that are processes."""
    return [trial for trial in rest.get(run.port, '/trial-jobs') if 'ended' not in parameters(trial)]


def stages(run):
    return [parameters(trial)['mutation_summary']['stage'] for trial in trials(run)]


def assert_says(run, *texts):
    for text in texts:
        assert text in run.output()


# --- limits ---------------------------------------------------------------------------------------


def test_too_few_trials_are_refused_before_anything_runs(new_run):
    run = new_run()
    run.start(max_trial_number=4)
    assert run.wait() == 1
    assert_says(run, 'ValueError: max_trial_number allows 4 more trials, but this run still needs 5')
    assert not (run.folder / 'jobs').exists()
    run.all_gone()


def test_just_enough_trials_and_a_killed_main_process(new_run):
    """NNI starts the trials again that were running: they need no room of their own."""
    run = new_run()
    run.close('finalist-epoch-1')
    run.start(max_trial_number=5)
    run.reached('finalist-epoch-1', 2)
    os.kill(run.main.pid, signal.SIGKILL)
    run.all_gone()
    run.open('finalist-epoch-1')
    run.resume(max_trial_number=5)
    assert run.wait() == 0
    assert len(run.outcome()['results']) == 3
    assert len(list((run.root / 'nni/digits/environments/local-env/trials').iterdir())) == 5


def test_a_trial_too_few_among_the_finalists(new_run):
    run = new_run()
    run.close('finalist-epoch-1')
    run.start(max_trial_number=5)
    first, _ = run.reached('finalist-epoch-1', 2)
    os.kill(first, signal.SIGKILL)
    run.open('finalist-epoch-1')
    assert run.wait() == 0
    assert_says(run, 'max_trial_number=5 is reached', 'finished: False')
    run.resume(max_trial_number=6)
    assert run.wait() == 0
    assert_says(run, 'finished: True')


def test_the_duration_is_over_in_the_search(new_run):
    run = new_run()
    run.close('search-step-22')
    run.start()
    run.reached('search-step-22', 2)
    profile = rest.get(run.port, '/experiment')
    profile['params']['maxExperimentDuration'] = '1s'
    rest.put(run.port, '/experiment?update_type=MAX_EXEC_DURATION', profile, run.prefix)
    wait_until(lambda: 'accepts no more trials: max_experiment_duration is over' in run.output())
    run.open('search-step-22')
    assert run.wait() == 0
    assert_says(run, 'finished: False')
    run.resume()
    assert run.wait() == 0
    assert_says(run, 'finished: True')


def test_the_concurrency_is_raised_and_lowered_by_the_web_ui(new_run):
    run = new_run()

    def change(number):
        profile = rest.get(run.port, '/experiment')
        profile['params']['trialConcurrency'] = number
        rest.put(run.port, '/experiment?update_type=TRIAL_CONCURRENCY', profile, run.prefix)

    def told_to_end():
        return [path for path in run.folder.glob('search/*/widths.jsonl') if '"end": true' in path.read_text()]

    run.close('search-step-1')
    run.start(concurrency=1)
    run.reached('search-step-1')
    change(3)
    run.reached('search-step-1', 3)
    change(1)
    wait_until(lambda: len(told_to_end()) == 2)
    run.close('search-step-54')  # the fourth width of a trial: those that were told to end do not come that far
    run.open('search-step-1')
    run.reached('search-step-54')
    wait_until(lambda: [trial['status'] for trial in trials(run)].count('RUNNING') == 1)
    run.open('search-step-54')
    assert run.wait() == 0
    sequential = new_run('sequential')
    sequential.start(engine='sequential')
    assert sequential.wait() == 0
    assert run.outcome() == sequential.outcome()


# --- faults of the user's code --------------------------------------------------------------------


@pytest.mark.parametrize(('fails', 'name'), [('supernet', 'supernet'), ('search', 'search')])
def test_an_error_in_the_users_code(new_run, fails, name):
    run = new_run()
    run.start(fails=fails)
    assert run.wait() == 1
    assert_says(run, 'nni_cafenet.errors.TrialFailedError: Trial ', f'({name}', 'ZeroDivisionError: This step fails.')
    assert_says(run, str(run.root / 'nni/digits/environments/local-env/trials'), 'Trying once more.')
    run.all_gone()


def test_finalists_that_fail(new_run):
    run = new_run()
    run.start(fails='finalist')
    assert run.wait() == 1
    assert_says(run, 'nni_cafenet.errors.TrialFailedError: Trial ', 'ZeroDivisionError: This step fails.')
    for name in ('finalist 1', 'finalist 2', 'baseline'):
        assert run.output().count(f'({name}) ended as FAILED') >= 2
    run.all_gone()


def test_trials_that_cannot_start(new_run):
    run = new_run()
    run.close('imports-fail')
    run.start()
    assert run.wait() == 1
    assert_says(run, 'nni_cafenet.errors.TrialFailedError: Trial ', 'ImportError: This machine lacks a library.')
    run.all_gone()


# --- a run that is resumed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'says'),
    [({'budget': '60%'}, 'budget: '), ({'train': 150}, 'data: '), ({'fails': 'nothing'}, 'lightning_module.fails: ')],
    ids=['budget', 'data', 'evaluator'],
)
def test_with_other_settings(new_run, options, says):
    run = new_run()
    run.close('supernet-epoch-1')
    run.start()
    run.reached('supernet-epoch-1')
    os.kill(run.main.pid, signal.SIGKILL)
    run.all_gone()
    run.open('supernet-epoch-1')
    claims = {path.name: path.read_bytes() for path in (run.folder / 'jobs').iterdir()}
    run.resume(**options)
    assert run.wait() == 1
    assert_says(run, 'nni_cafenet.errors.ResumeError: ', says)
    assert {path.name: path.read_bytes() for path in (run.folder / 'jobs').iterdir()} == claims
    run.all_gone()
    run.resume()
    assert run.wait() == 0


def test_twice_at_once(new_run):
    run = new_run()
    run.close('supernet-epoch-1')
    first = run.start()
    trial = run.reached('supernet-epoch-1')
    port, output = run.port, run.outputs[-1]
    run.port = free_port()
    run.resume()
    assert run.wait() == 1
    assert_says(run, f'nni_cafenet.errors.FolderInUseError: directory={str(run.folder)!r}: process {first.pid} on ')
    assert psutil.pid_exists(trial[0])
    run.main, run.port = first, port
    run.open('supernet-epoch-1')
    assert first.wait(400) == 0
    assert 'finished: True' in output.read_text()


def free_port():
    import socket

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


# --- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 4 MiB; its size can be changed by ``small_disk.resize('8m')``."""
    import subprocess
    import types

    path = tmp_path / 'disk'
    path.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(path)], capture_output=True).returncode:
        pytest.skip('only root may mount')
    remount = lambda option: subprocess.run(['mount', '-o', f'remount,{option}', str(path)], check=True)  # noqa: E731
    yield types.SimpleNamespace(path=path, resize=lambda size: remount(f'size={size}'), remount=remount)
    subprocess.run(['umount', '-l', str(path)], check=True)


def fill(path):
    with open(path, 'wb', buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk(new_run, small_disk):
    run = new_run()
    run.close('search-step-22')
    run.start(directory=str(small_disk.path / 'run'))
    run.folder = small_disk.path / 'run'
    run.reached('search-step-22', 2)
    with pytest.raises(OSError, match='No space left'):
        fill(small_disk.path / 'filler')
    run.open('search-step-22')
    assert run.wait() == 1
    assert_says(run, 'No space left on device', str(small_disk.path / 'run'))
    run.all_gone()
    (small_disk.path / 'filler').unlink()
    run.resume(directory=str(small_disk.path / 'run'))
    assert run.wait() == 0
    assert_says(run, 'finished: True')


def test_a_disk_that_may_only_be_read(new_run, small_disk):
    run = new_run()
    small_disk.remount('ro')
    run.start(directory=str(small_disk.path / 'run'))
    assert run.wait() == 1
    assert_says(run, f'nni_cafenet.errors.FolderError: directory={str(small_disk.path / "run")!r}: ', 'Read-only')
    run.all_gone()
