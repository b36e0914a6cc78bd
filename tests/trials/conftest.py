"""Experiments of digits_run.py in processes of their own: started, held at gates, killed, and looked at."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import types

import psutil
import pytest

FOLDER = pathlib.Path(__file__).parent


def wait_until(condition, seconds=400.0):
    """Return the condition's first true value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f'not true within {seconds} seconds'
        time.sleep(0.02)
    return value


class Run:
    """One experiment of digits_run.py, and the processes that do it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.gates = root / 'gates'
        self.folder = root / 'nni' / 'digits' / 'cafenet'
        self.main: subprocess.Popen | None = None
        self.outputs: list[pathlib.Path] = []
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.gates.mkdir(parents=True)
        paths = [str(FOLDER), os.getcwd(), *filter(None, [os.environ.get('PYTHONPATH')])]
        self.environment = {
            **os.environ,
            'HOME': str(root),
            'PYTHONPATH': os.pathsep.join(paths),
            'GATES': str(self.gates),
            'OMP_NUM_THREADS': '1',
        }

    # --- the main process -------------------------------------------------------------------------

    def start(self, *more: str, engine: str = 'ts', **options) -> subprocess.Popen:
        """Start the main process; options are those of ``make``."""
        self.outputs.append(self.root / f'output-{len(self.outputs)}')
        command = [sys.executable, str(FOLDER / 'digits_run.py'), engine, str(self.root), *more]
        if engine == 'ts':
            command += ['--port', str(self.port)]
        with self.outputs[-1].open('w') as file:
            self.main = subprocess.Popen(
                [*command, '--options', json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.root,
                env=self.environment,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_DFL
                ),  # a test run in the background ignores it
            )
        return self.main

    def resume(self, **options) -> subprocess.Popen:
        """Start it again."""
        return self.start('--resume', **options)

    def wait(self, seconds: float = 400.0) -> int:
        """Wait for the end of the main process, and return its exit code."""
        return self.main.wait(seconds)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.main.send_signal(signal.SIGINT)

    def nnictl(self, *arguments: str) -> str:
        """Run a command of nnictl; return what it prints."""
        command = [sys.executable, '-m', 'nni.tools.nnictl.nnictl', *arguments]
        done = subprocess.run(command, env=self.environment, cwd=self.root, capture_output=True, text=True, timeout=100)
        return done.stdout + done.stderr

    @property
    def prefix(self) -> str:
        """What addresses of its manager begin with: the token."""
        return json.loads((self.root / 'nni-experiments' / '.experiment').read_text())['digits']['prefixUrl']

    def output(self) -> str:
        """What the main process that was started last has printed."""
        return self.outputs[-1].read_text()

    def outcome(self) -> dict:
        """What the run has found."""
        return json.loads((self.root / 'outcome.json').read_text())

    # --- gates ------------------------------------------------------------------------------------

    def close(self, gate: str) -> None:
        """Hold processes where they come to a gate."""
        (self.gates / gate).touch()

    def reached(self, gate: str, processes: int = 1) -> list[int]:
        """Wait until some processes that live stand at a gate, and return their ids."""

        def there():
            assert self.main.poll() is None, self.output()
            ids = [int(path.name.rpartition('-')[2]) for path in self.gates.glob(f'{gate}-reached-*')]
            alive = [pid for pid in ids if psutil.pid_exists(pid)]
            return alive if len(alive) >= processes else None

        return wait_until(there)

    def open(self, gate: str) -> None:
        """Let them go on."""
        (self.gates / gate).unlink()

    # --- its processes ----------------------------------------------------------------------------

    def manager(self) -> psutil.Process:
        """NNI's manager."""
        return next(process for process in self.processes() if process.name() == 'node')

    def processes(self) -> list[psutil.Process]:
        """All that belong to the experiment and live."""
        return [process for process in psutil.process_iter() if self._belongs(process)]

    def _belongs(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get('GATES') == str(self.gates)
        except psutil.Error:
            return False

    def all_gone(self, seconds: float = 30.0) -> bool:
        """Wait for the end of all of them."""
        return wait_until(lambda: not self.processes(), seconds)

    def end(self) -> None:
        """Kill what is left."""
        left = self.processes()
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, 10)
        if self.main is not None:
            self.main.wait(10)


@contextlib.contextmanager
def ended(root: pathlib.Path):
    """A run, all of whose processes end with the block."""
    run = Run(root)
    try:
        yield run
    finally:
        run.end()
        for number, output in enumerate(run.outputs):  # pytest shows it where a test has failed
            print(f'--- {root.name}, main process {number}\n{output.read_text()}')
        left = run.processes()
    assert not left


@pytest.fixture(scope='session')
def runs():
    """``with runs(root) as run``: an experiment in a folder of its own."""
    return ended


@pytest.fixture
def new_run(tmp_path):
    """``new_run(name)``: an experiment in a folder of its own."""
    with contextlib.ExitStack() as stack:
        yield lambda name='run': stack.enter_context(ended(tmp_path / name))


# --- the same without processes -------------------------------------------------------------------


class Manager:
    """NNI's manager in memory: it starts trials, and `step` lets them do some work, as the tests say."""

    id = 'digits'

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.trials: list[types.SimpleNamespace] = []
        self.status, self.concurrency, self.limit = 'RUNNING', 2, None
        self.seconds, self.duration = 0, None
        self.work = lambda trial, task: 'SUCCEEDED'
        self.steps = 0
        self.records: list[dict] = []
        self._proc = None
        self.config = types.SimpleNamespace(canonical_copy=lambda: self.config)
        self.config.experiment_working_directory = str(folder)
        # What an engine is made of.
        self.nodejs_binding = self
        self._channel = types.SimpleNamespace(_channel=types.SimpleNamespace(_ensure_conn=lambda: 'connection'))
        self._channel_listen_thread = None

    # --- what NNI's experiment and engine do ------------------------------------------------------

    def get_status(self):
        return self.status

    def get_experiment_profile(self):
        limits = {'trialConcurrency': self.concurrency}
        limits.update({} if self.limit is None else {'maxTrialNumber': self.limit})
        limits.update({} if self.duration is None else {'maxExperimentDuration': self.duration})
        return {'params': limits, 'execDuration': self.seconds}

    def list_trial_jobs(self):
        return list(self.trials)

    def update_search_space(self, space):
        self.space = space

    def submit_models(self, *models):
        for model in models:
            parameters = model._dump()
            if 'ended' in parameters:
                self.records.append(parameters)
            else:
                self.add(parameters)

    def let_time_pass(self):
        """End the time that the experiment may run for."""
        self.duration, self.seconds, self.status = '1m', 61, 'NO_MORE_TRIAL'

    # --- what tests do ----------------------------------------------------------------------------

    def add(self, parameters, status='WAITING'):
        number = len(self.trials)
        record = types.SimpleNamespace(parameter_id=number, parameters=parameters)
        log = self.folder / 'trials' / f't{number}'
        log.mkdir(parents=True, exist_ok=True)
        self.trials.append(
            types.SimpleNamespace(
                trialJobId=f't{number}', status=status, hyperParameters=[record], logPath=f'file://localhost:{log}'
            )
        )
        return self.trials[-1]

    def active(self):
        return [trial for trial in self.trials if trial.status in ('WAITING', 'RUNNING', 'ADD_RESUMED')]

    def assigned(self, trial):
        """What the main process has told a trial to do."""
        path = self.folder / 'run' / 'jobs' / f'{trial.trialJobId}.json'
        return json.loads(path.read_text()) if path.exists() else None

    def step(self, seconds=0.0):
        """Let every trial do some work: ``work(trial, task)`` returns its status, or None if it goes on."""
        self.steps += 1
        assert self.steps < 5000, 'it does not come to an end'
        running = [trial for trial in self.trials if trial.status == 'RUNNING']
        waiting = [trial for trial in self.active() if trial.status != 'RUNNING']
        for trial in [*running, *waiting[: max(0, self.concurrency - len(running))]]:
            trial.status = 'RUNNING'
            task = self.assigned(trial)
            if task is not None:
                trial.status = self.work(trial, task) or 'RUNNING'


@contextlib.contextmanager
def working_manager(folder: pathlib.Path):
    """An NNI manager in memory, which works while the main process sleeps."""
    from nni_cafenet.trials import runner, search_pool

    (folder / 'run').mkdir()
    manager = Manager(folder)
    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=manager.step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, '_POLL', 0.0)
        patch.setattr(runner, 'time', clock)
        patch.setattr(search_pool, 'time', clock)
        yield manager


@pytest.fixture(scope='session')
def managers():
    """``with managers(folder) as manager``: an NNI manager in memory."""
    return working_manager


@pytest.fixture
def manager(tmp_path):
    """An NNI manager in memory; the run's folder is ``manager.folder / 'run'``."""
    with working_manager(tmp_path) as manager:
        yield manager


@pytest.fixture
def make_runner(manager):
    """``make_runner()``: a runner of a main process that has just started; a second one has resumed the experiment."""
    from nni_cafenet.trials.heartbeat import RunHeartbeat
    from nni_cafenet.trials.runner import TrialRunner

    return lambda: TrialRunner(manager, RunHeartbeat(manager.folder / 'run'), str(manager.folder / 'run'))


@pytest.fixture(scope='session')
def digits_run():
    """The module digits_run.py, by the name under which its parts are sent."""
    spec = importlib.util.spec_from_file_location('digits_run', FOLDER / 'digits_run.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['digits_run'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['digits_run']
