"""The command line on several devices: gloo processes on a CPU, started by torchrun."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nni_cafenet.cli import main
from nni_cafenet.supernet import read_checkpoint
from nni_cafenet.utils.json_records import read_record, read_records

CODE = '''
import os
import signal
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet.testing import digits


class Net(nn.Module):
    """Without batch normalization, whose statistics are those of a share of the batch."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        self.maybe_killed()
        return self.fc(self.conv2(self.conv1(x).relu()).relu().mean((2, 3)))

    def maybe_killed(self):
        """Kill rank 1 in the stage of ``KILL_IN``, once that has made a record in the folder ``RUN``."""
        stage, run = os.environ.get('KILL_IN'), Path(os.environ.get('RUN', ''))
        if os.environ.get('RANK') != '1' or stage is None or self.training != (stage == 'finalists'):
            return
        history = run / 'history.jsonl'
        if stage == 'search' and history.exists() and len(history.read_bytes().splitlines()) >= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if stage == 'finalists' and list((run / 'finalists').glob('*')):
            os.kill(os.getpid(), signal.SIGKILL)


def collate(samples):
    rank, checkpoint = os.environ.get('RANK'), os.environ.get('KILL_AFTER')
    if rank == '1' and checkpoint and Path(checkpoint).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.utils.data.default_collate(samples)


def loaders(batch_size):
    images, labels = digits('train').tensors
    if os.environ.get('RANK', '') == os.environ.get('ANOTHER'):
        labels = labels.flip(0)
    train, test = TensorDataset(images[:240], labels[:240]), TensorDataset(images[240:365], labels[240:365])
    return (
        DataLoader(train, batch_size, shuffle=True, collate_fn=collate),
        DataLoader(test, batch_size, collate_fn=collate),
    )
'''

OPTIONS = (
    '--epochs 4 --finetune-epochs 1 --population 4 --generations 2 --finalists 1 --statistics-batches 1 --headroom 0 '
    '--batch-size 24 --lr 0.05 --optimizer sgd --device cpu --min-ratio 0.25 --bins 1:4'
).split()


def command(folder: Path, *more: str) -> list[str]:
    code = folder / 'nets.py'
    code.write_text(CODE)
    names = ['--model', f'{code}:Net', '--data', f'{code}:loaders', '--input', '1', '1', '8', '8']
    return ['search', *names, *OPTIONS, *more]


def torchrun(processes: int, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(processes)]
    return subprocess.run(
        [sys.executable, '-W', 'ignore', *launcher, '-m', 'nni_cafenet', *words],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(paths), **environment},
        capture_output=True,
        text=True,
        timeout=150,
    )


def results(folder: Path):
    """Return the scores, the weights of the supernet, and what the trained networks have measured."""
    history = read_records(folder / 'history.jsonl', remedy='')
    weights = read_checkpoint(folder / 'supernet.ckpt')['state_dict']
    trained = [read_record(path, remedy='')['metrics'] for path in sorted(folder.glob('finalists/*/result.json'))]
    return history, weights, trained


def run_here(words: list[str]) -> None:
    """Run a command by one process, this one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(words) == 0
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    """The folder of a run by one process."""
    root = tmp_path_factory.mktemp('alone')
    run_here(command(root, '--output', str(root / 'alone')))
    return root / 'alone'


@pytest.fixture(scope='module')
def runs(tmp_path_factory, alone):
    """Output and folders of a run by one process, and of one that lost a rank of two and was resumed by three."""
    root = tmp_path_factory.mktemp('devices')
    together = root / 'together'
    words = command(root, '--output', str(together))
    killed = torchrun(2, words, KILL_AFTER=str(together / 'supernet.ckpt'))
    epochs = read_checkpoint(together / 'supernet.ckpt')['epoch'] + 1
    return alone, together, (killed, epochs, torchrun(3, words))


def test_a_lost_rank_ends_the_run_and_any_number_of_ranks_resumes_it(runs):
    _, together, (killed, epochs, resumed) = runs
    assert killed.returncode != 0
    assert 'local_rank: 1' in killed.stderr
    assert epochs < 4
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert (together / 'widths.json').exists()


def test_it_ends_with_the_result_of_one_process_to_rounding(runs):
    alone, together, _ = runs
    (history, weights, trained), (scores, others, measured) = map(results, (alone, together))
    assert [each['widths'] for each in history] == [each['widths'] for each in scores]
    assert [each['score'] for each in history] == pytest.approx([each['score'] for each in scores], rel=1e-4)
    torch.testing.assert_close(weights, others, rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(trained, measured, strict=True):
        assert mine['val_loss'] == pytest.approx(theirs['val_loss'], rel=1e-3)
        assert 125 * theirs['val_acc'] == pytest.approx(
            round(125 * theirs['val_acc']), abs=1e-3
        )  # each sample counts once


def test_progress_is_that_of_the_first_rank_alone(runs):
    output = runs[2][2]
    assert output.stderr.count('devices: 3 processes on CPUs, started by torchrun') == 1
    assert output.stderr.count('resuming the run') == 1
    assert output.stdout.count('| network') == 1


def test_other_data_on_one_rank_are_found_before_training(tmp_path):
    done = torchrun(2, command(tmp_path, '--output', str(tmp_path / 'out')), ANOTHER='1')
    assert done.returncode != 0
    assert 'rank 1 of 2, on' in done.stderr
    assert 'train_dataloaders: the samples differ' in done.stderr
    assert not (tmp_path / 'out' / 'supernet.ckpt').exists()


def two_without_a_launcher(words: list[str], **environment: str) -> list[subprocess.Popen[str]]:
    """Start two ranks with the environment of torchrun, but nobody who ends one when the other is lost."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    paths = [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]
    shared = {'TORCHELASTIC_RUN_ID': 'none', 'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'OMP_NUM_THREADS': '1'}
    shared |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'PYTHONPATH': os.pathsep.join(paths)}
    return [
        subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m', 'nni_cafenet', *words],
            env={**os.environ, **shared, **environment, 'RANK': rank, 'LOCAL_RANK': rank},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in '01'
    ]


@pytest.mark.parametrize('stage', ['search', pytest.param('finalists', marks=pytest.mark.sweep)])
def test_a_rank_lost_after_training_ends_the_other_with_a_sentence_and_the_run_resumes(tmp_path, alone, stage):
    run = tmp_path / 'run'
    words = command(tmp_path, '--output', str(run))
    first, other = two_without_a_launcher(words, KILL_IN=stage, RUN=str(run))
    try:
        other.communicate(timeout=200)
        lost = time.monotonic()
        said = first.communicate(timeout=60)[1]
    finally:
        first.kill()
        other.kill()
    assert other.returncode < 0
    assert first.returncode == 1
    assert time.monotonic() - lost < 60
    assert 'rank 0 of 2' in said
    assert 'Traceback' not in said
    (known, _, trained), (history, _, _) = results(run), results(alone)
    assert known[:3] and len(known) < len(history) if stage == 'search' else len(known) == len(history) and not trained
    run_here(words)
    (whole, weights, measured), (history, others, expected) = results(run), results(alone)
    assert whole[: len(known)] == known  # nothing that was scored is scored again
    assert [each['widths'] for each in whole] == [each['widths'] for each in history]
    assert [each['score'] for each in whole] == pytest.approx([each['score'] for each in history], rel=1e-4)
    torch.testing.assert_close(weights, others, rtol=1e-3, atol=1e-4)
    assert len(measured) == len(expected)


@pytest.mark.sweep
@pytest.mark.parametrize('stage', ['search', 'finalists'])
def test_torchrun_ends_a_run_that_lost_a_rank_after_training_and_three_ranks_resume_it(tmp_path, alone, stage):
    run = tmp_path / 'run'
    words = command(tmp_path, '--output', str(run))
    killed = torchrun(2, words, KILL_IN=stage, RUN=str(run))
    assert killed.returncode != 0
    assert re.search(r'local_rank\W+1', killed.stderr)
    resumed = torchrun(3, words)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    (history, _, _), (expected, _, _) = results(run), results(alone)
    assert [each['widths'] for each in history] == [each['widths'] for each in expected]
    assert [each['score'] for each in history] == pytest.approx([each['score'] for each in expected], rel=1e-4)
