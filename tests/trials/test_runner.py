from __future__ import annotations

import logging
from pathlib import Path

import pytest
import requests

from nni_cafenet.errors import ExperimentEndedError, LimitReachedError
from nni_cafenet.trials import runner as runner_module
from nni_cafenet.trials.job import Job


def finalist(name):
    return Job(f'finalist {name}', {'stage': 'finalist', 'finalist': {'name': name}}, {'stage': 'finalist'}, {'a': 8})


@pytest.fixture
def done(manager):
    """The names of the jobs whose trials have left a result."""
    names = set()

    def work(trial, task):
        names.add(task['name'])
        return 'SUCCEEDED'

    manager.work = work
    return names


def run(runner, jobs, done):
    ended = []
    lost = runner.run(jobs, done=lambda job: job.name in done, ended=lambda job: ended.append(job.name))
    return ended, [job.name for job in lost]


# --- jobs -----------------------------------------------------------------------------------------


def test_each_job_becomes_a_trial_that_is_told_what_to_do(manager, make_runner, done):
    assert run(make_runner(), [finalist('1'), finalist('2')], done) == (['finalist 1', 'finalist 2'], [])
    assert [manager.assigned(trial)['finalist'] for trial in manager.trials] == [{'name': '1'}, {'name': '2'}]
    assert [manager.assigned(trial)['parameter_id'] for trial in manager.trials] == [0, 1]
    shown = manager.trials[0].hyperParameters[0].parameters
    assert shown['mutation_summary'] == {'stage': 'finalist'}
    assert shown['details'] == {'a': 8}


def test_never_more_side_by_side_than_the_concurrency_which_may_change(manager, make_runner):
    seen, names = [], set()

    def work(trial, task):
        seen.append(len(manager.active()))
        if len(seen) == 3:
            manager.concurrency = 1
        if len(seen) == 8:
            manager.concurrency = 3
        if manager.steps % 3:
            return None
        names.add(task['name'])
        return 'SUCCEEDED'

    manager.work = work
    ended, lost = run(make_runner(), [finalist(str(number)) for number in range(8)], names)
    assert len(ended) == 8
    assert not lost
    assert max(seen[:3]) == 2
    assert 1 in seen[3:]
    assert max(seen[8:]) == 3


def test_what_fails_is_tried_once_more(manager, make_runner, done, caplog):
    succeed, failures = manager.work, []

    def work(trial, task):
        if task['name'] == 'finalist 2' and not failures:
            failures.append(trial)
            return 'USER_CANCELED'
        return succeed(trial, task)

    manager.work = work
    assert run(make_runner(), [finalist('1'), finalist('2')], done) == (['finalist 1', 'finalist 2'], [])
    assert len(manager.trials) == 3
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f'Trial {failures[0].trialJobId} (finalist 2) was killed or canceled. Its log is in ')
    assert message.endswith('Trying once more.')


def test_what_fails_twice_is_lost_and_its_traceback_shown_while_the_others_go_on(manager, make_runner, done, caplog):
    succeed = manager.work

    def work(trial, task):
        if task['name'] == 'finalist 1':
            log = manager.folder / 'trials' / trial.trialJobId / 'trial.stderr'
            log.write_text('a warning\nTraceback (most recent call last):\n  File "net.py"\nZeroDivisionError: mine\n')
            return 'FAILED'
        return succeed(trial, task)

    manager.work = work
    runner, jobs = make_runner(), [finalist('1'), finalist('2')]
    ended, lost = run(runner, jobs, done)
    assert sorted(ended) == ['finalist 1', 'finalist 2']
    assert lost == ['finalist 1']
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    said = str(runner.error(jobs[0]))
    assert str(manager.folder / 'trials' / 't2') in said
    assert (
        'It ends with:\n    Traceback (most recent call last):\n      File "net.py"\n    ZeroDivisionError: mine'
        in said
    )
    assert 'a warning' not in said


def test_a_trial_that_fails_without_a_traceback_shows_the_end_of_its_log(manager, make_runner):
    runner, job = make_runner(), finalist('1')
    job.status, job.trial, job.log = 'FAILED', 't0', manager.folder
    assert 'ends with' not in runner.failure(job)
    (manager.folder / 'trial.stderr').write_text('\n'.join(f'line {number}' for number in range(40)))
    assert runner.failure(job).endswith('    line 38\n    line 39\n')
    assert 'line 24\n' not in runner.failure(job)
    job.status = 'USER_CANCELED'
    assert 'line' not in runner.failure(job)


def test_a_trial_that_leaves_a_result_and_fails_after_it_has_done_its_work(manager, make_runner, done):
    succeed = manager.work
    manager.work = lambda trial, task: succeed(trial, task) and 'FAILED'
    assert run(make_runner(), [finalist('1')], done) == (['finalist 1'], [])
    assert len(manager.trials) == 1


def test_where_a_trial_keeps_its_log(manager, make_runner, done):
    runner, job = make_runner(), finalist('1')
    run(runner, [job], done)
    assert job.log == manager.folder / 'trials' / 't0'
    manager.trials[0].logPath = '/somewhere/else'
    runner.poll()
    assert job.log == Path('/somewhere/else')


# --- limits ---------------------------------------------------------------------------------------


def test_the_number_of_trials_is_respected_and_said(manager, make_runner, done):
    manager.limit = 2
    runner = make_runner()
    with pytest.raises(LimitReachedError, match='max_trial_number=2 is reached'):
        run(runner, [finalist('1'), finalist('2'), finalist('3')], done)
    assert done == {'finalist 1', 'finalist 2'}
    assert runner.trials_left == 0
    assert runner.is_open
    assert not runner.may_submit


def test_a_trial_is_counted_once(manager, make_runner):
    manager.limit = 5
    runner = make_runner()
    runner.poll()
    left = []
    manager.work = lambda trial, task: left.append(runner.trials_left)
    for name in '12':
        runner.submit(finalist(name))
        left.append(runner.trials_left)
        runner.poll()
    manager.step()
    assert left == [4, 3, 3, 3]


def test_the_duration_of_the_experiment_is_respected_and_said(manager, make_runner, done):
    manager.concurrency, succeed = 1, manager.work

    def work(trial, task):
        manager.let_time_pass()
        return succeed(trial, task)

    manager.work = work
    runner = make_runner()
    with pytest.raises(LimitReachedError, match='max_experiment_duration is over'):
        run(runner, [finalist('1'), finalist('2')], done)
    assert done == {'finalist 1'}
    assert not runner.is_open


def test_a_trial_that_was_submitted_too_late_is_not_waited_for(manager, make_runner, done, monkeypatch):
    monkeypatch.setattr(runner_module, '_GRACE', 0.0)
    runner, submit = make_runner(), manager.submit_models

    def submit_models(model):
        if manager.trials:
            manager.let_time_pass()  # and no trial is ever seen
        else:
            submit(model)

    manager.submit_models = submit_models
    with pytest.raises(LimitReachedError, match='max_experiment_duration is over'):
        run(runner, [finalist('1'), finalist('2')], done)
    assert done == {'finalist 1'}


def test_a_submitted_trial_for_which_there_is_no_room_any_more(manager, make_runner, done, monkeypatch):
    monkeypatch.setattr(runner_module, '_GRACE', 0.0)
    runner, submit = make_runner(), manager.submit_models

    def submit_models(model):
        if manager.trials:
            manager.limit, manager.status = 1, 'NO_MORE_TRIAL'  # lowered in the web UI
        else:
            submit(model)

    manager.submit_models = submit_models
    with pytest.raises(LimitReachedError, match='max_trial_number=1 is reached'):
        run(runner, [finalist('1'), finalist('2')], done)
    assert done == {'finalist 1'}


def test_limits_that_are_raised_count_at_once(manager, make_runner, done):
    manager.let_time_pass()
    with pytest.raises(LimitReachedError):
        run(make_runner(), [finalist('1')], done)
    manager.duration = 120  # seconds; the status is that of before for a while
    assert run(make_runner(), [finalist('1')], done) == (['finalist 1'], [])


def test_a_manager_that_is_stopping_takes_no_trials(manager, make_runner):
    manager.status = 'STOPPING'
    runner = make_runner()
    runner.poll()
    assert not runner.may_submit


# --- a resumed experiment -------------------------------------------------------------------------


@pytest.fixture
def interrupted(manager, make_runner):
    """An experiment in which ``finalist 1`` and ``finalist 2`` were training; NNI has started both trials again."""
    runner = make_runner()
    manager.work = lambda trial, task: None
    for name in '12':
        runner.submit(finalist(name))
    runner.poll()
    manager.step()
    for trial in manager.trials:
        trial.status = 'ADD_RESUMED'
    return runner


def test_trials_that_nni_has_started_again_go_on_with_what_they_did(manager, make_runner, interrupted):
    names = set()
    manager.work = lambda trial, task: names.add(task['name']) or 'SUCCEEDED'
    former = [manager.assigned(trial)['session'] for trial in manager.trials]
    ended, lost = run(make_runner(), [finalist('2'), finalist('1'), finalist('3')], names)
    assert sorted(ended) == ['finalist 1', 'finalist 2', 'finalist 3']
    assert not lost
    assert [manager.assigned(trial)['name'] for trial in manager.trials] == ['finalist 1', 'finalist 2', 'finalist 3']
    assert manager.assigned(manager.trials[0])['session'] not in former


def test_those_that_nobody_needs_are_told_to_end(manager, make_runner, interrupted):
    names, tasks = set(), []

    def work(trial, task):
        tasks.append((trial.trialJobId, task['stage']))
        names.add(task['name'])
        return 'SUCCEEDED'

    manager.work = work
    ended, lost = run(make_runner(), [finalist('2')], names)
    assert (ended, lost) == (['finalist 2'], [])
    assert ('t0', 'none') in tasks
    assert len(manager.trials) == 2


def test_they_need_no_room_under_the_number_of_trials(manager, make_runner, interrupted):
    manager.limit = 2
    names = set()
    manager.work = lambda trial, task: names.add(task['name']) or 'SUCCEEDED'
    runner = make_runner()
    runner.poll()
    assert runner.trials_left == 0
    assert sorted(runner.started_again()) == ['finalist 1', 'finalist 2']
    assert runner.may_start('finalist 1')
    assert not runner.may_start('finalist 3')
    ended, lost = run(runner, [finalist('1'), finalist('2')], names)
    assert sorted(ended) == ['finalist 1', 'finalist 2']


def test_one_that_fails_is_tried_once_more_as_a_new_trial(manager, make_runner, interrupted):
    names = set()

    def work(trial, task):
        if trial.trialJobId == 't0':
            return 'FAILED'
        names.add(task['name'])
        return 'SUCCEEDED'

    manager.work = work
    ended, lost = run(make_runner(), [finalist('1'), finalist('2')], names)
    assert sorted(ended) == ['finalist 1', 'finalist 2']
    assert len(manager.trials) == 3


def test_one_search_trial_is_as_good_as_another(manager, make_runner):
    first = make_runner()
    manager.work = lambda trial, task: None
    first.submit(Job('search 1', {'stage': 'search', 'queue': '001'}, {}))
    first.poll()
    manager.trials[0].status = 'ADD_RESUMED'
    runner = make_runner()
    runner.poll()
    runner.submit(Job('search 2', {'stage': 'search', 'queue': '002'}, {}))
    assert manager.assigned(manager.trials[0])['queue'] == '002'
    assert len(manager.trials) == 1


def test_trials_of_others_are_left_alone(manager, make_runner, done):
    copy = manager.add({'task': 'unknown', 'run': 'another folder'})
    strange = manager.add('a string')
    empty = manager.add({})
    empty.hyperParameters = []
    manager.concurrency = 4
    run(make_runner(), [finalist('1')], done)
    assert [manager.assigned(trial) for trial in (copy, strange, empty)] == [None, None, None]


def test_a_copy_that_a_user_makes_of_a_trial_does_not_take_its_place(manager, make_runner):
    runner, job = make_runner(), finalist('1')
    manager.work = lambda trial, task: None
    runner.submit(job)
    runner.poll()
    copy = manager.add(dict(manager.trials[0].hyperParameters[0].parameters))
    runner.poll()
    assert job.trial == 't0'
    assert manager.assigned(copy) is None


# --- the manager ----------------------------------------------------------------------------------


def test_an_experiment_in_error_ends_the_run(manager, make_runner, done):
    log = manager.folder / 'digits' / 'log' / 'nnimanager.log'
    log.parent.mkdir(parents=True)
    log.write_text(
        '[1999-01-01 00:00:00] ERROR (of an earlier session)\n[2999-01-01 00:00:00] ERROR (NNIManager) SQLITE_FULL\n'
    )
    manager.status = 'ERROR'
    with pytest.raises(ExperimentEndedError) as error:
        run(make_runner(), [finalist('1')], done)
    said = str(error.value)
    assert 'the NNI manager reports an error' in said
    assert 'SQLITE_FULL' in said
    assert 'earlier' not in said
    assert "id='digits').resume(port)" in said


def test_a_manager_that_does_not_answer_is_given_some_time(manager, make_runner, done, monkeypatch):
    monkeypatch.setattr('nni_cafenet.trials.manager.time.sleep', manager.step)
    answer, silences = manager.get_status, []

    def get_status():
        if len(silences) < 3:
            silences.append(True)
            raise requests.exceptions.ReadTimeout
        return answer()

    manager.get_status = get_status
    assert run(make_runner(), [finalist('1')], done) == (['finalist 1'], [])
    monkeypatch.setattr('nni_cafenet.trials.manager._PATIENCE', -1.0)
    silences.clear()
    with pytest.raises(ExperimentEndedError, match='has not responded'):
        run(make_runner(), [finalist('1')], set())


def test_the_main_process_gives_signs_of_life(manager, make_runner, done, monkeypatch):
    beats = []
    runner = make_runner()
    monkeypatch.setattr(runner.session, 'beat', lambda: beats.append(True))
    run(runner, [finalist('1')], done)
    assert beats


def test_records_take_no_room_and_are_told_from_trials(manager, make_runner, done):
    manager.limit = 1
    manager.add({'ended': {'final': {'default': 0.5}}, 'name': 'widths'}, 'SUCCEEDED')
    runner = make_runner()
    runner.poll(now=True)
    assert (runner.records, runner.trials_left) == (1, 1)
    assert run(runner, [finalist('1@50%')], done) == (['finalist 1@50%'], [])
    assert manager.trials[-1].hyperParameters[0].parameters['name'] == 'finalist-1-50'


def test_a_record_that_cannot_be_shown_does_not_stop_the_run(manager, make_runner, monkeypatch, caplog):
    runner = make_runner()

    def refuse(*models):
        raise ConnectionError('no line')

    monkeypatch.setattr(manager, 'submit_models', refuse)
    runner.show(object())
    assert 'is not shown in the web UI (no line)' in caplog.text
