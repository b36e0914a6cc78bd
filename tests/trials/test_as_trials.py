"""The stages as trials that are done in this process, one step after the other: all that needs no real NNI manager."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from nni_cafenet import ShortTrainings
from nni_cafenet.errors import ResumeError, RunInterrupted, TrialFailedError
from nni_cafenet.options import FinalistOptions
from nni_cafenet.stages.context import StageContext
from nni_cafenet.stages.folder import RunFolder
from nni_cafenet.stages.in_process import InProcess
from nni_cafenet.trials import as_trials, tasks
from nni_cafenet.trials.as_trials import AsTrials
from nni_cafenet.trials.file_queue import FileQueue
from nni_cafenet.trials.heartbeat import RunHeartbeat


@pytest.fixture(autouse=True)
def released(monkeypatch):
    """Processes that are watched, and let go of."""
    watched = []
    monkeypatch.setattr(as_trials, 'ends_with_this_process', lambda pid: watched.append(pid) or (lambda: None))
    return watched


class EnoughError(Exception):
    """A search trial has no more widths for now."""


def enough():
    raise EnoughError


@pytest.fixture
def in_turn(manager):
    """Trials do their tasks here, one after the other; search trials what they find in their mailboxes."""
    folder, ready = RunFolder(manager.folder / 'run'), {}

    def work(trial, task):
        if task['stage'] != 'search':
            tasks.run_task(folder, task)
            return 'SUCCEEDED'
        if folder not in ready:
            ready[folder] = StageContext.load(folder.read_setup())
            assert ready[folder].supernet.restore(folder)
            ready[folder].scorer.shown = ready[folder].shown_metric
        queue = FileQueue(folder.search / task['queue'])
        try:
            for widths in queue.tasks(enough):
                queue.reply(ready[folder].scorer.score(widths))
        except EnoughError:
            return None
        return 'SUCCEEDED'

    manager.work = work
    return work


@pytest.fixture(scope='module')
def finished(digits_run, managers, tmp_path_factory):
    """The folder of a run that has ended."""
    root = tmp_path_factory.mktemp('finished')
    Run(digits_run.make('sequential'), root / 'run', 'in process').go()
    return root / 'run'


@pytest.fixture
def make(digits_run, manager):
    """``make()``: a run that is started, or started again, in the folder of the manager."""

    def make(engine=None, finalists=2, path=None, **options):
        experiment = digits_run.make('sequential', **options)
        return Run(experiment, path or manager.folder / 'run', engine or manager, finalists)

    return make


class Run:
    """A run of a strategy whose stages are trials of an engine, or done in process."""

    def __init__(self, experiment, path, engine, finalists=2):
        self.experiment, self.engine = experiment, engine
        self.strategy = strategy = experiment.strategy
        strategy.directory = path
        strategy.finalist_options = FinalistOptions(number=finalists, metric='val_loss')

    def stages(self):
        sequential = SequentialExecutionEngine()
        space = RawFormatModelSpace.from_model(self.experiment.model_space, self.experiment.evaluator)
        self.strategy.initialize(space, sequential)
        self.folder = self.strategy._opened_folder()
        if self.engine == 'in process':
            return InProcess(self.strategy._context, self.folder, sequential)
        return AsTrials(self.strategy._context, self.folder, self.engine)

    def go(self):
        stages = self.stages()
        self.strategy._do(self.folder, stages)
        return self.strategy


def files(path):
    names = ['history.jsonl', 'finalists.json', *(f'finalists/{name}/result.json' for name in ('1', '2', 'uniform'))]
    return {name: (path / name).read_bytes() for name in names if (path / name).exists()}


def unfinish(run):
    """Take back that finalists were trained."""
    shutil.rmtree(run / 'finalists')


def load_slim_weights(path):
    return torch.load(path / 'slim.pt', weights_only=True)


@pytest.fixture
def resumed(finished, manager):
    """The manager, of an experiment whose run has ended."""
    shutil.copytree(finished, manager.folder / 'run', dirs_exist_ok=True)
    return manager


def test_trials_find_what_one_process_finds(make, manager, in_turn, finished, tmp_path):
    strategy = make().go()
    assert strategy.finished
    assert files(tmp_path / 'run') == files(finished)
    assert len(files(tmp_path / 'run')) == 5
    winner = next(strategy.list_models())
    slim, other = winner.executable_model().state_dict(), load_slim_weights(finished / 'finalists' / winner.name)
    assert all(torch.equal(slim[name], other[name]) for name in slim)
    names = [manager.assigned(trial)['name'] for trial in manager.trials]
    assert names == ['supernet', 'search 1', 'search 2', 'finalist 1', 'finalist 2', 'baseline']
    shown = [trial.hyperParameters[0].parameters['mutation_summary']['stage'] for trial in manager.trials]
    assert shown == ['supernet', 'search', 'search', 'finalist', 'finalist', 'baseline']
    assert manager.space.keys() == strategy._space.choices.keys()
    assert len(manager.records) == len(strategy.history) + 1  # and the baseline
    for record in manager.records:
        assert record['mutation_summary']['stage'] == 'search'
        assert record['ended']['final'].keys() == {'default', 'score'}
    assert not any(scored.shown for scored in strategy.history)

    again = make().go()  # gives its result once more
    assert len(manager.trials) == 6
    assert [each.metric for each in again.trained] == [each.metric for each in strategy.trained]


def test_without_finalists_search_trials_are_waited_for(make, manager, in_turn):
    strategy = make(finalists=0).go()
    assert strategy.finished
    assert strategy.trained == []
    assert {trial.status for trial in manager.trials} == {'SUCCEEDED'}
    manager.limit = len(manager.trials)
    assert make(finalists=0).go().finished  # no room for more trials is needed


# --- short trainings ------------------------------------------------------------------------------


class ShortRun(Run):
    """A run of short trainings."""

    def __init__(self, experiment, path, engine, **options):
        self.experiment, self.engine = experiment, engine
        given = {'n': 3, 'epochs': (1, 2), 'holdout': 0.25, 'finalists': 1, 'metric': 'val_loss', **options}
        self.strategy = ShortTrainings('50%', directory=path, **given)


def results(path):
    return {str(each.relative_to(path)): each.read_bytes() for each in sorted(path.glob('**/result.json'))}


def test_short_trainings_are_trials(digits_run, manager, in_turn, tmp_path):
    alone = ShortRun(digits_run.make('sequential'), tmp_path / 'alone', 'in process').go()
    manager.limit = 3 + 2 + 1 + 1
    strategy = ShortRun(digits_run.make('sequential'), manager.folder / 'run', manager).go()
    assert strategy.finished
    assert list(strategy.history) == list(alone.history)
    assert results(manager.folder / 'run') == results(tmp_path / 'alone')
    names = [manager.assigned(trial)['name'] for trial in manager.trials]
    assert names[:3] == ['candidate 1, 1 epoch', 'candidate 2, 1 epoch', 'candidate uniform, 1 epoch']
    assert sorted(names[5:]) == sorted(f'finalist {each.finalist.name}' if not each.finalist.is_baseline else 'baseline'
                                       for each in strategy.trained)  # fmt: skip
    shown = [trial.hyperParameters[0].parameters['mutation_summary']['stage'] for trial in manager.trials]
    assert shown[:5] == ['1 epoch'] * 3 + ['2 epochs'] * 2


def test_short_trainings_that_nni_starts_again_go_on(digits_run, manager, in_turn, tmp_path):
    def go():
        return ShortRun(digits_run.make('sequential'), manager.folder / 'run', manager, finalists=0).go()

    whole = go()
    before, number = results(manager.folder / 'run'), len(manager.trials)
    assert number == 5
    lost = sorted((manager.folder / 'run').glob('short_trainings/2_epochs/*/result.json'))[0]
    lost.unlink()
    (manager.folder / 'run' / 'history.json').unlink()
    start_again(manager, f'candidate {lost.parent.name}, 2 epochs', 'candidate 1, 1 epoch')
    manager.limit = number + 2
    assert list(go().history) == list(whole.history)
    assert results(manager.folder / 'run') == before
    assert [manager.assigned(trial)['name'] for trial in manager.trials[number:]] == [
        f'candidate {lost.parent.name}, 2 epochs', 'none'
    ]  # fmt: skip


def test_short_trainings_need_room(digits_run, manager, in_turn):
    manager.limit = 6
    with pytest.raises(
        ValueError, match='max_trial_number allows 6 more trials, but this run still needs 7: 7 to train'
    ):
        ShortRun(digits_run.make('sequential'), manager.folder / 'run', manager).go()
    assert manager.trials == []


# --- limits ---------------------------------------------------------------------------------------


def test_too_few_trials_are_refused_before_anything_runs(make, manager, in_turn):
    manager.limit = 4
    with pytest.raises(ValueError, match='max_trial_number allows 4 more trials, but this run still needs 5') as error:
        make().stages()
    assert '3 to train networks' in str(error.value)
    assert manager.trials == []
    manager.limit = 5
    assert make().go().finished
    assert len(manager.trials) == 5


def test_what_is_done_needs_no_trials(make, resumed, in_turn):
    manager = resumed
    (manager.folder / 'run' / 'finalists' / '2' / 'result.json').unlink()
    manager.limit = len(manager.trials)
    with pytest.raises(ValueError, match='max_trial_number allows 0 more trials, but this run still needs 1'):
        make().stages()
    manager.limit += 1
    assert make().go().finished
    assert manager.assigned(manager.trials[-1])['name'] == 'finalist 2'


def start_again(manager, *does):
    """Trials of a former session that were doing something, as NNI has them when an experiment is resumed."""
    session = RunHeartbeat(manager.folder / 'run')
    for name in does:
        trial = manager.add({'task': f'former {name}', 'run': str(manager.folder / 'run')}, 'ADD_RESUMED')
        stage = {'supernet': 'supernet', 'search': 'search'}.get(name.split()[0], 'finalist')
        session.assign(trial.trialJobId, {'stage': stage, 'name': name, 'queue': '001'})


def test_trials_that_nni_starts_again_need_no_room(make, manager, in_turn):
    manager.limit = 5
    start_again(manager, 'supernet')
    assert make().go().finished
    assert [manager.assigned(trial)['name'] for trial in manager.trials][:2] == ['supernet', 'search 1']
    assert len(manager.trials) == 5


def test_those_of_a_later_stage_wait_for_their_turn(make, resumed, in_turn):
    manager, run = resumed, resumed.folder / 'run'
    unfinish(run)
    start_again(manager, 'baseline', 'search 1', 'finalist 2')
    manager.concurrency = 3
    assert make().go().finished
    names = [manager.assigned(trial)['name'] for trial in manager.trials]
    assert names == ['baseline', 'none', 'finalist 2', 'finalist 1']
    assert {trial.status for trial in manager.trials} == {'SUCCEEDED'}


def test_search_trials_go_on_searching(make, resumed, in_turn):
    manager, run = resumed, resumed.folder / 'run'
    unfinish(run)
    for name in ('finalists.json', 'history.json'):
        (run / name).unlink()
    lines = (run / 'history.jsonl').read_bytes().splitlines(keepends=True)
    (run / 'history.jsonl').write_bytes(b''.join(lines[:7]))
    start_again(manager, 'search 1', 'search 2', 'supernet')
    manager.concurrency = 3
    assert make().go().finished
    names = [manager.assigned(trial)['name'].split()[0] for trial in manager.trials]
    assert names[:3] == ['search', 'search', 'none']
    assert (run / 'history.jsonl').read_bytes() == b''.join(lines)
    assert {trial.status for trial in manager.trials} == {'SUCCEEDED'}


def test_the_duration_is_over_in_the_search(make, manager, in_turn, caplog):
    def work(trial, task):
        if history.exists() and len(history.read_bytes().splitlines()) >= 6:
            manager.let_time_pass()
        return in_turn(trial, task)

    history = RunFolder(manager.folder / 'run').history
    manager.work = work
    strategy = make().go()
    assert not strategy.finished
    assert 'max_experiment_duration is over' in caplog.text
    (best,) = strategy.best_within(strategy.budgets[0])
    model = next(strategy.list_models())
    assert model.sample == best.widths
    assert sum(tensor.numel() for tensor in model.executable_model().parameters()) == best.params

    manager.duration, manager.work = '2m', in_turn  # resumed with another limit; the status follows late
    for trial in manager.active():
        trial.status = 'USER_CANCELED'
    again = make().go()
    assert again.finished
    assert list(again.history)[: len(strategy.history)] == list(strategy.history)


def test_the_number_of_trials_is_used_up_among_the_finalists(make, resumed, in_turn, caplog):
    manager, failures = resumed, []
    unfinish(manager.folder / 'run')

    def work(trial, task):
        if task['name'] == 'finalist 1' and not failures:
            failures.append(trial)
            return 'FAILED'
        return in_turn(trial, task)

    manager.limit, manager.work = 3, work
    strategy = make().go()
    assert not strategy.finished
    assert 'max_trial_number=3 is reached' in caplog.text
    assert sorted(each.finalist.name for each in strategy.trained) == ['1', '2']
    assert {model.name for model in strategy.list_models(limit=None)} == {'1', '2'}


# --- failures -------------------------------------------------------------------------------------


def test_a_supernet_that_fails_twice_ends_the_run(make, manager):
    manager.work = lambda trial, task: 'FAILED'
    run = make()
    with pytest.raises(TrialFailedError, match=r'\(supernet\) ended as FAILED'):
        run.go()
    assert len(manager.trials) == 2
    assert not run.strategy.finished


def test_a_finalist_that_fails_is_left_out(make, resumed, in_turn, caplog):
    manager = resumed
    unfinish(manager.folder / 'run')
    manager.work = lambda trial, task: 'FAILED' if task['name'] == 'finalist 1' else in_turn(trial, task)
    strategy = make().go()
    assert strategy.finished
    assert sorted(each.finalist.name for each in strategy.trained) == ['2', 'uniform']
    assert '(finalist 1) ended as FAILED. Its log is in' in caplog.text


def test_finalists_that_all_fail_end_the_run(make, resumed):
    manager = resumed
    unfinish(manager.folder / 'run')
    manager.work = lambda trial, task: 'FAILED'
    with pytest.raises(TrialFailedError, match=r'\((finalist \d|baseline)\) ended as FAILED'):
        make().go()


# --- a run that is started again ------------------------------------------------------------------


def test_with_another_evaluator_it_is_refused_before_any_trial(make, manager, in_turn):
    make(fails='').stages()
    before = (manager.folder / 'run' / 'setup.json').read_bytes()
    with pytest.raises(ResumeError, match=r"evaluator.fails: '' there, 'search' now"):
        make(fails='search').stages()
    assert manager.trials == []
    assert (manager.folder / 'run' / 'setup.json').read_bytes() == before


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'train': 150}, r'evaluator.train_dataloaders.length: 200 there, 150 now'),
        ({'net': 'Other'}, 'macs: '),
    ],
)
def test_with_another_budget_data_or_model_too(make, manager, digits_run, options, says):
    make().stages()

    class Other(digits_run.Net):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(16, 11)

    if 'net' in options:
        options = {'net': Other}
    with pytest.raises(ResumeError, match=says):
        make(**options).stages()


def test_with_a_checkpoint_that_is_cut_short(make, resumed):
    checkpoint = resumed.folder / 'run' / 'supernet.ckpt'
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(ResumeError, match='supernet.ckpt is damaged'):
        make().stages()
    checkpoint.write_bytes(b'')
    with pytest.raises(ResumeError, match='it has 0 bytes'):
        make().stages()


def test_the_seeds_of_its_data_stay(make, manager, in_turn):
    make().stages()
    path = manager.folder / 'run' / 'setup.json'
    first = json.loads(path.read_text())['setup']
    torch.manual_seed(5)
    make().stages()
    assert json.loads(path.read_text())['setup']['evaluator'] == first['evaluator']


# --- the manager ----------------------------------------------------------------------------------


def test_the_manager_ends_with_the_main_process(make, manager, released, monkeypatch):
    manager._proc = type('Process', (), {'pid': 12345})()
    registered = []
    monkeypatch.setattr(as_trials.atexit, 'register', registered.append)
    stages = make().stages()
    assert released == [12345]
    try:
        raise KeyboardInterrupt  # NNI stops the manager; if that is interrupted too, the watchdog does
    except KeyboardInterrupt:
        stages.close()
    assert registered == []
    stages.close()
    assert len(registered) == 1


def test_how_to_go_on(make, manager, tmp_path):
    assert "id='digits').resume(port)" in make().stages().resume_hint
    in_process = make('in process', path=tmp_path / 'one').stages()
    assert f"run again with directory='{tmp_path / 'one'}'." in in_process.resume_hint


def test_an_interrupted_run_says_how_to_go_on(make, manager, caplog):
    def work(trial, task):
        raise KeyboardInterrupt

    manager.work = work
    says = r'^Interrupted\. .* To continue: NasExperiment\('
    with pytest.raises(RunInterrupted, match=says):
        make().go()
    assert 'All finished trainings' not in caplog.text
