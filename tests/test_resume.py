from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nni.experiment.experiment
import nni.nas.experiment.experiment
import pytest
import torch

from nni_cafenet.errors import ResumeError
from nni_cafenet.search.history import History
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.search.temperature import FIT_GRID, TEMPERATURES
from nni_cafenet.utils.json_records import read_record

SCRIPT = '''
"""A run with everything in it that could differ after a resume: dropout, shuffling, noise, momentum, a schedule."""
import os, random, signal, sys
from pathlib import Path

import numpy as np
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperiment
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, TensorDataset, WeightedRandomSampler

from nni_cafenet import CafeNet, EqualBins, Evolution, LocallyFree, WidthMutator
from nni_cafenet.testing import digits

IMAGES, LABELS = (tensor[:200] for tensor in digits('train').tensors)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(16, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


class Noisy(Dataset):
    """Augments with random numbers: of the workers, where there are any."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        return IMAGES[index] + 0.1 * torch.randn(1, 8, 8), LABELS[index]


class OwnLoader(torch.utils.data.DataLoader):
    """Cannot be cut, so it is used as it is: its batches follow the global random numbers."""

    def __iter__(self):
        return super().__iter__()


class User(LightningModule):
    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.runs = schedule, np.zeros((), int)  # a plain number is taken back where a channel set loses

    @property
    def steps(self):
        return int(self.runs)

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.runs += 1
        self.on_step(self.steps)
        noise = random.random() * np.random.rand()
        weight = 1 + 0.1 * self.current_epoch + 0.01 * self.global_step  # a loss that follows the training
        loss = weight * cross_entropy(self.model(x + 0.1 * noise * torch.randn_like(x)), y)
        self.log('train_loss', loss, on_step=False, on_epoch=True)
        return loss

    def on_step(self, number):
        pass

    def on_train_start(self):
        torch.rand(3)  # a resumed run starts twice

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log('val_loss', cross_entropy(self.model(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        schedules = torch.optim.lr_scheduler
        if self.schedule == 'step':
            schedule = schedules.OneCycleLR(optimizer, 0.03, total_steps=40)
            return [optimizer], [{'scheduler': schedule, 'interval': 'step'}]
        if self.schedule == 'epoch':
            return [optimizer], [schedules.CosineAnnealingLR(optimizer, 4)]
        if self.schedule == 'asks':
            steps = self.trainer.estimated_stepping_batches  # makes an iterator of the loader before the training starts
            schedule = schedules.OneCycleLR(optimizer, 0.03, total_steps=steps)
            return [optimizer], [{'scheduler': schedule, 'interval': 'step'}]
        plateau = schedules.ReduceLROnPlateau(optimizer, factor=0.3, patience=0, threshold=0.5)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': plateau, 'monitor': 'val_loss'}}


def make(
    root, directory=None, id=None, seed=0, schedule='step', workers=0, persist=False, sampler=False, own=False,
    callbacks=(), **trainer
):
    """An experiment, and its module."""
    root = Path(root)
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    space = WidthMutator(bins=EqualBins(8), verify=False).mutate(Net, example_input=(2, 1, 8, 8))
    more, scores = {'shuffle': True}, None
    if sampler:
        more = {'sampler': WeightedRandomSampler(torch.arange(1.0, 201.0), 160)}
    if sampler or own:
        scores = DataLoader(TensorDataset(IMAGES[:40], LABELS[:40]), batch_size=40)
    data = Noisy() if workers else TensorDataset(IMAGES, LABELS)
    more |= {'num_workers': workers, 'persistent_workers': persist}
    loader = (OwnLoader if own else DataLoader)(data, batch_size=32, **more)
    user = User(schedule)
    options = dict(
        accelerator='cpu', max_epochs=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=1, default_root_dir=str(root / 'lightning'),
        callbacks=list(callbacks),
    )
    evaluator = Lightning(user, Trainer(**{**options, **trainer}), train_dataloaders=loader)
    strategy = CafeNet(
        '50%', sharing=LocallyFree(2), search=Evolution(population=4, generations=3), statistics_batches=2,
        holdout=0.2, seed=seed, directory=directory, score_data=scores,
    )
    experiment = NasExperiment(space, evaluator, strategy, id=id)
    experiment.config.experiment_working_directory = str(root / 'nni')
    return experiment, user


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == '__main__':
    import nni_cafenet.utils.json_records as records, nni_cafenet.stages.folder

    torch.set_num_threads(1)
    root, where, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    experiment, user = make(root, sys.argv[4] if len(sys.argv) > 4 else None)
    Path(root, 'id').write_text(experiment.id)
    if where == 'training':
        user.on_step = lambda step: die() if step == number else None
    elif where == 'marker':
        nni_cafenet.stages.folder.RunFolder.mark_trained = die
    else:
        append = records.append_line

        def append_some(path, text, count=[0]):
            count[0] += Path(path).name == 'history.jsonl'
            if count[0] < number or Path(path).name != 'history.jsonl':
                return append(path, text)
            if where == 'line':
                with open(path, 'a') as file:
                    file.write(text[: len(text) // 2])
            die()

        records.append_line = append_some
    experiment.run()
'''


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp('script') / 'resume_script.py'
    path.write_text(SCRIPT)
    spec = importlib.util.spec_from_file_location('resume_script', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules['resume_script'] = module
    spec.loader.exec_module(module)
    yield SimpleNamespace(make=module.make, path=path, images=module.IMAGES)
    del sys.modules['resume_script']


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where NNI keeps its list of experiments, here and in subprocesses."""
    path = tmp_path / 'nni-experiments'
    path.mkdir()
    keep_experiments_in(path, monkeypatch)
    return tmp_path


def keep_experiments_in(path, monkeypatch):
    for module in (nni.experiment.experiment, nni.nas.experiment.experiment):
        monkeypatch.setattr(module, 'Experiments', functools.partial(module.Experiments, home_dir=str(path)))


def finish(experiment, resume=False):
    try:
        experiment.resume() if resume else experiment.run()
    finally:
        experiment.stop()
    return outcome(experiment)


def outcome(experiment):
    """All that must be the same bit for bit."""
    strategy = experiment.strategy
    best = strategy.history.best(1)[0]
    checkpoint = torch.load(strategy.directory / 'supernet.ckpt', weights_only=False)
    return {
        'history': (strategy.directory / 'history.jsonl').read_bytes(),
        'csv': (strategy.directory / 'history.csv').read_bytes(),
        'winner': json.dumps(best.to_json()),
        'widths': experiment.export_top_models(3, formatter='dict'),
        'slim': {k: v.tolist() for k, v in experiment.export_top_models(formatter='instance')[0].state_dict().items()},
        'supernet': {k: v.tolist() for k, v in strategy._space.state_dict().items()},
        'learning rates': [group['lr'] for group in checkpoint['optimizer_states'][0]['param_groups']],
        'generators': [state.tolist() for state in checkpoint['cafenet']['generators']],
    }


def assert_same(found, expected):
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.fixture(scope='module')
def whole(script, tmp_path_factory):
    """What an uninterrupted run gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patch:
        keep_experiments_in(root, patch)
        experiment, user = script.make(root, root / 'run')
        result = finish(experiment)
    torch.set_num_threads(before)
    assert len(result['history'].splitlines()) == 12
    return result


def kill(script, home, where, number, directory=None):
    """Run the script until it kills itself; the id of its experiment."""
    command = [sys.executable, '-W', 'ignore', str(script.path), str(home), where, str(number)]
    environment = {
        **os.environ,
        'HOME': str(home),
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]),
    }
    done = subprocess.run(
        command + ([str(directory)] if directory else []), env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    return (home / 'id').read_text()


SCORE_STEPS = 2 * (2 + len({*TEMPERATURES, *FIT_GRID}) * 2)
"""Steps of the user a score takes: two channel sets, each two batches for statistics and two for the score, which is
computed at several temperatures (after the first time on its outputs)."""

MORE = 8
"""Steps that find out whether the score is a cross-entropy."""

TRAINING = {'run.json', 'process.json', 'supernet.ckpt', 'curves.jsonl', 'speed.json'}
TRAINED = TRAINING | {'curves.csv'}


# 160 training samples are 5 batches an epoch, each run with two channel sets: about 10 steps of the user an epoch.
@pytest.mark.parametrize(
    ('where', 'number', 'files', 'lines'),
    [
        ('training', 25, TRAINING, 0),
        ('line', 7, TRAINED | {'supernet.json', 'history.jsonl'}, 7),  # six, and a half
    ],
)
def test_killed_and_started_again_in_its_directory(script, whole, home, where, number, files, lines):
    directory = home / 'run'
    kill(script, home, where, number, directory)
    assert {path.name for path in directory.iterdir()} == files
    if lines:
        assert len((directory / 'history.jsonl').read_text().split('\n')) == lines
    experiment, user = script.make(home, directory)
    assert_same(finish(experiment), whole)
    if where == 'training':
        assert 20 + 12 * SCORE_STEPS + MORE >= user.steps > 10  # the third and the fourth epoch, and scoring
    else:
        assert user.steps <= 6 * SCORE_STEPS + MORE  # six widths


def test_killed_and_resumed_by_nni(script, whole, home):
    name = kill(script, home, 'training', 25)
    (directory,) = (home / 'lightning' / 'cafenet').iterdir()
    experiment, _ = script.make(home, id=name)
    assert_same(finish(experiment, resume=True), whole)
    assert experiment.strategy.directory == directory
    assert list((home / 'lightning' / 'cafenet').iterdir()) == [directory]


# --- the same without the cost of a process: an exception instead of a signal -----------------------


class Crash(BaseException):
    pass


def crash_in_training(experiment, user, step):
    def on_step(number):
        if number == step:
            raise Crash

    user.on_step = on_step
    crash(experiment)


def crash_in_search(experiment, monkeypatch, number):
    with monkeypatch.context() as patch:
        add = History.add

        def add_some(self, scored):
            if len(self) + 1 == number:
                raise Crash
            add(self, scored)

        patch.setattr(History, 'add', add_some)
        crash(experiment)


def crash(experiment):
    with pytest.raises(Crash):
        finish(experiment)
    assert not experiment.strategy.finished


@pytest.mark.parametrize(
    'options',
    [
        {'schedule': 'epoch', 'accumulate_grad_batches': 2},
        {'schedule': 'plateau'},
        {'workers': 1, 'persist': True},
        {'schedule': 'asks'},
        {'schedule': 'asks', 'workers': 1, 'persist': True, 'own': True},
        {'sampler': True, 'limit_val_batches': 0},
        {'max_epochs': -1, 'max_steps': 17},
    ],
    ids=['accumulation', 'plateau', 'persistent-workers', 'asks', 'asks-own-loader', 'sampler', 'steps'],
)
def test_training_goes_on_exactly(script, home, options):
    expected = finish(script.make(home, home / 'whole', **options)[0])
    experiment, user = script.make(home, home / 'run', **options)
    crash_in_training(experiment, user, 27)
    torch.rand(3)
    found = finish(script.make(home, home / 'run', **options)[0])
    assert_same(found, expected)


def test_resumed_by_nni_in_the_search(script, whole, home, monkeypatch):
    experiment, _ = script.make(home)
    crash_in_search(experiment, monkeypatch, 6)
    directory = experiment.strategy.directory
    again, user = script.make(home, id=experiment.id)
    assert again.strategy.directory is None
    assert_same(finish(again, resume=True), whole)
    assert again.strategy.directory == directory
    assert user.steps <= 7 * SCORE_STEPS + MORE


def test_a_crash_before_the_first_checkpoint(script, whole, home):
    experiment, user = script.make(home, home / 'run')
    crash_in_training(experiment, user, 4)
    assert {path.name for path in (home / 'run').iterdir()} == {'run.json', 'process.json'}
    assert_same(finish(script.make(home, home / 'run')[0]), whole)


def test_a_crash_between_the_last_checkpoint_and_the_marker(script, whole, home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr('nni_cafenet.stages.folder.RunFolder.mark_trained', crashing)
        crash(script.make(home, home / 'run')[0])
    assert {path.name for path in (home / 'run').iterdir()} == TRAINED
    experiment, user = script.make(home, home / 'run')
    assert_same(finish(experiment), whole)
    assert user.steps <= 12 * SCORE_STEPS + MORE
    assert read_record(home / 'run' / 'supernet.json', remedy='') == {'epochs': 4}


def test_a_crash_between_the_last_epoch_and_the_end_of_training(script, home):
    from pytorch_lightning.callbacks import Callback

    class Halve(Callback):
        crash = False

        def on_train_end(self, trainer, pl_module):
            if Halve.crash:
                Halve.crash = False
                raise Crash
            with torch.no_grad():
                pl_module.space.fc.weight.mul_(0.5)

    whole = finish(script.make(home, home / 'whole', callbacks=[Halve()])[0])
    Halve.crash = True
    crash(script.make(home, home / 'run', callbacks=[Halve()])[0])
    experiment, user = script.make(home, home / 'run', callbacks=[Halve()])
    assert_same(finish(experiment), whole)
    assert user.steps <= 10 + 12 * SCORE_STEPS + MORE  # the last epoch is trained again, so that its end is seen


def test_a_second_crash(script, whole, home, monkeypatch):
    directory = home / 'run'
    for step in (16, 14):  # counted from the start of each process
        experiment, user = script.make(home, directory)
        crash_in_training(experiment, user, step)
    for number in (2, 9):
        experiment, user = script.make(home, directory)
        crash_in_search(experiment, monkeypatch, number)
        assert len((directory / 'history.jsonl').read_text().splitlines()) == number - 1
    assert_same(finish(script.make(home, directory)[0]), whole)


def test_no_width_is_scored_again(script, whole, home, monkeypatch):
    directory = home / 'run'
    crash_in_search(script.make(home, directory)[0], monkeypatch, 9)
    scored, score = [], Scorer.score
    monkeypatch.setattr(Scorer, 'score', lambda self, widths: scored.append(widths) or score(self, widths))
    assert_same(finish(script.make(home, directory)[0]), whole)
    assert len(scored) == 12 - 8
    scored.clear()
    assert_same(finish(script.make(home, directory)[0]), whole)  # a finished run gives its result once more
    assert scored == []


def test_training_that_was_stopped_early(script, home, monkeypatch):
    from pytorch_lightning.callbacks import EarlyStopping

    def make(directory):
        stop = EarlyStopping('train_loss', stopping_threshold=100.0, check_on_train_epoch_end=True)
        return script.make(home, directory, callbacks=[stop], min_epochs=2)

    expected = finish(make(home / 'whole')[0])
    assert read_record(home / 'whole' / 'supernet.json', remedy='') == {'epochs': 2}
    with monkeypatch.context() as patch:
        patch.setattr('nni_cafenet.stages.folder.RunFolder.mark_trained', crashing)
        crash(make(home / 'run')[0])
    experiment, user = make(home / 'run')
    assert_same(finish(experiment), expected)
    assert user.steps < 12 * SCORE_STEPS + MORE  # no training step


def crashing(*_, **__):
    raise Crash


def test_weights_that_are_averaged_when_training_ends(script, home, monkeypatch):
    from pytorch_lightning.callbacks import Callback

    class Halve(Callback):
        def on_train_end(self, trainer, pl_module):
            with torch.no_grad():
                pl_module.space.fc.weight.mul_(0.5)

    expected = finish(script.make(home, home / 'whole', callbacks=[Halve()])[0])
    crash_in_search(script.make(home, home / 'run', callbacks=[Halve()])[0], monkeypatch, 5)
    assert_same(finish(script.make(home, home / 'run', callbacks=[Halve()])[0]), expected)


def test_the_directory_of_another_run(script, home, monkeypatch):
    directory = home / 'run'
    crash_in_search(script.make(home, directory)[0], monkeypatch, 3)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    experiment, user = script.make(home, directory, seed=1)
    with pytest.raises(ResumeError, match='seed: 0 there, 1 now'):
        finish(experiment)
    assert user.steps == 0
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_an_unfinished_checkpoint_is_not_read(script, whole, home):
    directory = home / 'run'
    experiment, user = script.make(home, directory)
    crash_in_training(experiment, user, 25)
    leftover = directory / '.supernet.ckpt.0123abcd.tmp'
    leftover.write_bytes(b'half a checkpoint')
    os.utime(leftover, (0, 0))
    assert_same(finish(script.make(home, directory)[0]), whole)
    assert not leftover.exists()
