from __future__ import annotations

import pathlib
import tempfile
import types

import pytest
from hypothesis import given, settings, strategies as st

from nni_cafenet.errors import LimitReachedError, TrialFailedError
from nni_cafenet.search.history import Scored
from nni_cafenet.stages.folder import RunFolder
from nni_cafenet.trials.file_queue import FileQueue
from nni_cafenet.trials.heartbeat import RunHeartbeat
from nni_cafenet.trials.runner import TrialRunner
from nni_cafenet.trials.search_pool import SearchPool


def scored(widths):
    return Scored(widths, macs=widths['a'] * 10, params=widths['a'], score=widths['a'] / 100, channel_sets={'a': [0]})


class Worker:
    """What a search trial does in its process, a width a step."""

    def __init__(self, path):
        self.queue = FileQueue(path)
        self.tasks = self.queue.tasks(self.wait)

    def wait(self):
        raise InterruptedError

    def step(self):
        """Score the next width, and return it; None: there is none; 'end': there will be none."""
        try:
            widths = next(self.tasks, 'end')
        except InterruptedError:  # a generator that has raised is at its end
            self.tasks = self.queue.tasks(self.wait)
            return None
        if widths != 'end':
            self.queue.reply(scored(widths))
        return widths


@pytest.fixture
def workers(manager):
    """The search trials, by their ids; ``workers.scores`` has all that they have scored."""
    folder, by_trial = manager.folder / 'run' / 'search', {}
    scores = []

    def work(trial, task):
        worker = by_trial.setdefault(trial.trialJobId, Worker(folder / task['queue']))
        widths = worker.step()
        if widths == 'end':
            return 'SUCCEEDED'
        scores.extend([] if widths is None else [widths['a']])
        return None

    manager.work = work
    return types.SimpleNamespace(by_trial=by_trial, scores=scores, work=work)


@pytest.fixture
def make_pool(manager, make_runner):
    """``make_pool()``: the pool of a main process that has just started."""

    def make(reserved=0):
        folder = RunFolder(manager.folder / 'run')
        return SearchPool(make_runner(), folder, {'MACs': 1}, reserved=reserved)

    return make


def batch(*numbers):
    return [{'a': number} for number in numbers]


def scores_of(pool, *numbers):
    return [record.widths['a'] for record in pool.score(batch(*numbers))]


def test_scores_come_in_order_whoever_found_them(manager, make_pool, workers):
    pool = make_pool()
    assert scores_of(pool, 5, 3, 8, 1) == [5, 3, 8, 1]
    assert len(manager.trials) == 2
    assert sorted(workers.scores) == [1, 3, 5, 8]
    assert list(pool.score(batch(3, 7))) == [scored({'a': 3}), scored({'a': 7})]
    assert workers.scores.count(3) == 1
    assert len(manager.trials) == 2
    pool.close()
    assert [trial.status for trial in manager.trials] == ['SUCCEEDED', 'SUCCEEDED']


def test_no_more_trials_than_widths(manager, make_pool, workers):
    manager.concurrency = 8
    assert scores_of(make_pool(), 5, 3) == [5, 3]
    assert len(manager.trials) == 2


def test_nothing_to_score_starts_nothing(manager, make_pool, workers):
    pool = make_pool()
    assert scores_of(pool) == []
    pool.close()
    assert manager.trials == []


def test_a_width_that_stands_twice_in_a_batch_is_scored_once(manager, make_pool, workers):
    assert scores_of(make_pool(), 5, 3, 5) == [5, 3, 5]
    assert sorted(workers.scores) == [3, 5]


# --- trials that die ------------------------------------------------------------------------------


def test_what_a_dead_trial_was_given_is_given_to_another_one(manager, make_pool, workers, caplog):
    deaths = []

    def work(trial, task):
        if trial.trialJobId == 't0' and not deaths:
            deaths.append(trial)
            return 'USER_CANCELED'
        return workers.work(trial, task)

    manager.work = work
    assert scores_of(make_pool(), 5, 3, 8, 1, 2) == [5, 3, 8, 1, 2]
    assert sorted(workers.scores) == [1, 2, 3, 5, 8]
    assert 'Trial t0 (search 1) was killed or canceled.' in caplog.text


def test_a_width_at_which_two_trials_have_died_ends_the_run(manager, make_pool, workers):
    def work(trial, task):
        worker = workers.by_trial.setdefault(trial.trialJobId, Worker(manager.folder / 'run/search' / task['queue']))
        asked = [record['widths']['a'] for record in FileQueue(worker.queue.path)._widths.read() if 'widths' in record]
        answered = [record.widths['a'] for record in FileQueue(worker.queue.path).take_scores()]
        if [number for number in asked if number not in answered][:1] == [8]:
            log = manager.folder / 'trials' / trial.trialJobId / 'trial.stderr'
            log.write_text('Traceback (most recent call last):\nZeroDivisionError: this width fails\n')
            return 'FAILED'
        return workers.work(trial, task)

    manager.work = work
    with pytest.raises(TrialFailedError, match='this width fails'):
        scores_of(make_pool(), *range(40))
    assert len(manager.trials) <= 4
    assert sum(trial.status == 'FAILED' for trial in manager.trials) == 2


def test_trials_that_cannot_start_end_the_run(manager, make_pool):
    manager.work = lambda trial, task: 'FAILED'
    with pytest.raises(TrialFailedError, match=r'search \d\) ended as FAILED'):
        scores_of(make_pool(), *range(40))
    assert len(manager.trials) <= 4


def test_trials_that_die_now_and_then_do_not(manager, make_pool, workers):
    def work(trial, task):
        status = workers.work(trial, task)
        return 'FAILED' if len(workers.scores) % 5 == 0 else status

    manager.work = work
    assert scores_of(make_pool(), *range(40)) == list(range(40))


def test_a_trial_that_ends_well_without_its_work(manager, make_pool):
    manager.work = lambda trial, task: 'SUCCEEDED'
    with pytest.raises(TrialFailedError):
        scores_of(make_pool(), 1, 2, 3)


# --- limits ---------------------------------------------------------------------------------------


def test_trials_are_kept_back_for_the_finalists(manager, make_pool, workers):
    manager.concurrency, manager.limit = 4, 5
    pool = make_pool(reserved=3)
    assert scores_of(pool, *range(12)) == list(range(12))
    assert len(manager.trials) == 2
    assert pool.runner.trials_left == 3


def test_one_search_trial_must_be(manager, make_pool, workers):
    manager.concurrency, manager.limit = 4, 2
    assert scores_of(make_pool(reserved=3), *range(12)) == list(range(12))
    assert len(manager.trials) == 1


def test_the_number_of_trials_is_used_up(manager, make_pool):
    manager.concurrency, manager.limit = 1, 1
    manager.work = lambda trial, task: 'FAILED'
    with pytest.raises(LimitReachedError, match='max_trial_number=1'):
        scores_of(make_pool(), 1, 2)


def test_the_duration_is_over(manager, make_pool, workers):
    def work(trial, task):
        if len(workers.scores) == 3:
            manager.let_time_pass()
        return workers.work(trial, task)

    manager.work = work
    found = []
    with pytest.raises(LimitReachedError, match='max_experiment_duration is over'):
        found.extend(make_pool().score(batch(*range(12))))
    assert 3 <= len(workers.scores) < 12


def test_the_concurrency_is_raised_and_lowered(manager, make_pool, workers):
    running = []

    def work(trial, task):
        if len(workers.scores) == 10:
            manager.concurrency = 3
        if len(workers.scores) == 30:
            manager.concurrency = 1
        running.append((len(workers.scores), sum(trial.status == 'RUNNING' for trial in manager.trials)))
        return workers.work(trial, task)

    manager.concurrency, manager.work = 1, work
    assert scores_of(make_pool(), *range(60)) == list(range(60))
    assert max(trials for number, trials in running if number < 10) == 1
    assert max(trials for number, trials in running if 10 < number < 30) == 3
    assert {trials for number, trials in running if number > 50} == {1}
    assert len(manager.trials) == 3
    assert sorted(trial.status for trial in manager.trials) == ['RUNNING', 'SUCCEEDED', 'SUCCEEDED']


# --- a resumed run --------------------------------------------------------------------------------


def test_what_was_scored_before_is_not_scored_again(manager, make_pool, workers):
    scores_of(make_pool(), 1, 2, 3)
    for trial in manager.trials:
        trial.status = 'USER_CANCELED'
    assert scores_of(make_pool(), 1, 2, 3) == [1, 2, 3]
    assert scores_of(make_pool(), 3, 4, 1) == [3, 4, 1]
    assert workers.scores.count(3) == workers.scores.count(1) == 1


def test_trials_that_nni_has_started_again_go_on_searching(manager, make_pool, workers):
    scores_of(make_pool(), 1, 2, 3)
    assert len(manager.trials) == 2
    workers.by_trial.clear()  # their processes are new ones
    for trial in manager.trials:
        trial.status = 'ADD_RESUMED'
    pool = make_pool()
    assert scores_of(pool, 4, 5, 6, 7) == [4, 5, 6, 7]
    assert len(manager.trials) == 2
    assert [manager.assigned(trial)['queue'] for trial in manager.trials] == ['003', '004']
    pool.close()
    assert [trial.status for trial in manager.trials] == ['SUCCEEDED', 'SUCCEEDED']


def test_those_that_are_too_many_are_told_to_end(manager, make_pool, workers):
    scores_of(make_pool(), 1, 2, 3)
    workers.by_trial.clear()
    for trial in manager.trials:
        trial.status = 'ADD_RESUMED'

    def work(trial, task):
        return 'SUCCEEDED' if task['stage'] == 'none' else workers.work(trial, task)

    manager.concurrency, manager.work = 1, work
    assert scores_of(make_pool(), 4, 5, 6) == [4, 5, 6]
    assert sorted(manager.assigned(trial)['stage'] for trial in manager.trials) == ['none', 'search']


def test_a_mailbox_is_never_used_twice(manager, make_pool, workers):
    search = manager.folder / 'run' / 'search'
    FileQueue(search / '001').reply(scored({'a': 1}))
    closed = FileQueue(search / '002')  # its trial had been asked for a width, and to end, but died before
    closed.put({'a': 2})
    closed.close()
    assert scores_of(make_pool(), 1, 2, 3) == [1, 2, 3]
    assert {manager.assigned(trial)['queue'] for trial in manager.trials} == {'003', '004'}
    assert sorted(workers.scores) == [2, 3]


def test_leaving_without_waiting(manager, make_pool, workers):
    pool = make_pool()
    scores_of(pool, 1, 2, 3)
    steps = manager.steps
    pool.close(wait=False)
    assert manager.steps == steps
    assert {trial.status for trial in manager.trials} == {'RUNNING'}
    manager.step()
    assert {trial.status for trial in manager.trials} == {'SUCCEEDED'}


# --- whatever happens -----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    generations=st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=4),
    concurrency=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    fates=st.lists(st.sampled_from(['work', 'work', 'idle', 'die']), min_size=1, max_size=60),
)
def test_scores_come_in_order_whatever_the_trials_do(managers, generations, concurrency, fates):
    with tempfile.TemporaryDirectory() as name, managers(pathlib.Path(name)) as manager:
        root = manager.folder
        by_trial, found, deaths = {}, [], set()

        def work(trial, task):
            manager.concurrency = concurrency[manager.steps % len(concurrency)]
            fate = fates[(manager.steps + int(trial.trialJobId[1:])) % len(fates)]
            worker = by_trial.setdefault(trial.trialJobId, Worker(root / 'run' / 'search' / task['queue']))
            asked = [record.get('widths') for record in FileQueue(worker.queue.path)._widths.read()]
            answered = [record.widths for record in FileQueue(worker.queue.path).take_scores()]
            in_hand = next((widths['a'] for widths in asked if widths and widths not in answered), None)
            if fate == 'die' and in_hand not in deaths:
                deaths.add(in_hand)  # at each width once
                return 'FAILED'
            if fate == 'idle' and manager.steps % 3:
                return None
            widths = worker.step()
            if widths == 'end':
                return 'SUCCEEDED'
            found.extend([] if widths is None else [widths['a']])
            return None

        manager.work = work
        runner = TrialRunner(manager, RunHeartbeat(root / 'run'), str(root / 'run'))
        pool = SearchPool(runner, RunFolder(root / 'run'), {}, reserved=0)
        for numbers in generations:
            assert list(pool.score(batch(*numbers))) == [scored({'a': number}) for number in numbers]
        pool.close()
        assert not manager.active()
        assert sorted(found) == sorted(set(sum(generations, [])))
