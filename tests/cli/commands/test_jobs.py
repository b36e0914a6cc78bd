"""Pruning, searching and training again from the shell, on a folder of pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from nni_cafenet import cli, load_slim


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / 'slim.pt', weights_only=True)


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same network."""
    if json.loads((one / 'widths.json').read_text()) != json.loads((other / 'widths.json').read_text()):
        return False
    left, right = tensors(one), tensors(other)
    return all(torch.equal(left[key], right[key]) for key in {**left, **right})


def test_interrupted_and_started_again_it_ends_with_the_same_network(place, job, capsys):
    words = job('prune')
    process = subprocess.Popen(
        [sys.executable, '-m', 'nni_cafenet.cli', *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'HOME': str(place), 'OMP_NUM_THREADS': '1'},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    try:
        _wait_for(place / 'out' / 'supernet.ckpt', process)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ''
    assert 'going on' not in errors
    assert errors.endswith(f'to resume:\n  nni-cafenet {" ".join(words)}\n')
    assert 'Traceback' not in errors
    assert not (place / 'out' / 'widths.json').exists()

    assert cli.main(words) == 0
    assert f'resuming the run in {place / "out"}' in capsys.readouterr().err
    assert cli.main(job('prune', '--output', 'whole')) == 0
    assert same(place / 'out', place / 'whole')


def test_prune_then_all_that_takes_it_from_there(place, job, capsys):
    assert cli.main(job('prune', '--budget', '70%', '40%', '--no-distill')) == 0
    table, progress = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()]
    names = [row[0] for row in rows[2:]]
    assert [name for name in names if 'knapsack' not in name] == ['full', 'pruned to 70%', 'pruned to 40%']
    assert '30 pictures for training and 6 for validation (split by the seed 0), 3 classes' in progress
    assert f'model: {place}/net.py:net (num_classes=3), weights: {place}/net.pt\n' in progress

    sys.path.insert(0, str(place))
    import net

    macs = []
    for budget in ('70%', '40%'):
        record = json.loads((place / 'out' / budget / 'widths.json').read_text())
        macs.append(record['macs'])
        slim = load_slim(net.net, place / 'out' / budget)
        assert slim.eval()(torch.zeros(2, 3, 12, 12)).shape == (2, 3)
    full = 6 * 6 * 27 * 6 + 3 * 3 * 9 * 6 * 8 + 8 * 3
    assert macs[0] <= 0.7 * full
    assert macs[1] <= 0.4 * full
    kept = json.loads((place / 'out' / 'job.json').read_text())
    assert (kept['classes'], kept['model']) == (
        ['blue', 'green', 'red'],
        {'arguments': {'num_classes': 3}, 'input': [1, 3, 12, 12]},
    )

    assert 'Pruned to 70%' in (place / 'out' / 'report.md').read_text()
    assert "load_slim(net(num_classes=3), '70%')" in (place / 'out' / 'report.md').read_text()
    (place / 'out' / 'report.md').unlink()
    assert cli.main(['report', 'out']) == 0
    assert '| pruned to 40%' in capsys.readouterr().out
    assert (place / 'out' / 'report.md').exists()
    assert cli.main(['export', 'out', '--torchscript', 'slim.pt']) == 2
    assert 'has several networks; name one by --network: 40%, 70%' in capsys.readouterr().err
    assert cli.main(['export', 'out', '--torchscript', 'slim.pt', '--network', '40%', '--trust']) == 0
    pictures = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(torch.jit.load('slim.pt')(pictures), slim(pictures))

    assert cli.main(['train-slim', 'out', '--trust', '--epochs', '1', '--network', '40%', '--seed', '5']) == 0
    trained = place / 'out' / 'trained' / 'fresh-5' / '40%'
    assert '| 40%     |' in capsys.readouterr().out
    assert json.loads((trained / 'widths.json').read_text())['widths'] == record['widths']
    assert not same(trained, place / 'out' / '40%')
    assert (
        cli.main(
            [
                'train-slim',
                'out',
                '--trust',
                '--epochs',
                '1',
                '--from',
                'inherited',
                '--lr',
                '1e-9',
                '--output',
                'again',
            ]
        )
        == 0
    )
    for budget in ('70%', '40%'):
        before, after = tensors(place / 'out' / budget), tensors(place / 'again' / budget)
        torch.testing.assert_close(after['0.weight'], before['0.weight'], atol=1e-6, rtol=0)
    capsys.readouterr()
    for words, says in {
        ('--network', '50%'): 'the run has no such network; it has 40%, 70%',
        ('--epochs', '-1'): '--epochs: -1: must be a whole number, 0 or more',
        ('--trust', '--epochs', '3', '--network', '40%', '--seed', '5'): 'training.finetune_epochs: 1 there, 3 now',
        ('--trust', '--data', 'digits'): 'inputs of shape (1, 8, 8), but --input says (3, 12, 12)',
    }.items():
        assert cli.main(['train-slim', 'out', *words]) == 2
        assert says in capsys.readouterr().err


def test_search_from_a_file_starts_from_fresh_weights(place, job, capsys):
    assert cli.main(job('search', '--budget', '60%', '--dry-run')) == 0
    (place / 'search.yaml').write_text(capsys.readouterr().out)
    assert not (place / 'out').exists()
    assert cli.main(['search', '--config', 'search.yaml', '--trust', '--method', 'random']) == 0
    table, _ = capsys.readouterr()
    assert '| finalist 1 |' in table
    assert '# net searched within 60%' in (place / 'out' / 'report.md').read_text()
    kept = json.loads((place / 'out' / 'job.json').read_text())
    assert (kept['command'], kept['configuration']['search']['method']) == ('search', 'random')
    record = json.loads((place / 'out' / 'widths.json').read_text())
    assert len((place / 'out' / 'history.jsonl').read_text().splitlines()) <= 8
    assert {key: tuple(value.shape) for key, value in tensors(place / 'out').items()}['0.weight'][0] == record[
        'widths'
    ]['0']
    other = ['--seed=1', '--epochs=3', '--population=3']  # the last is another question to the same supernet
    assert cli.main(['search', '--config=search.yaml', '--trust', '--method=random', *other]) == 2
    assert capsys.readouterr().err.splitlines()[-3:] == [
        f"nni-cafenet: output '{place / 'out'}': has a run with other options. Give its options to resume it, "
        'or another folder:',
        '  training.epochs: 2 there, 3 now',
        '  seed: 0 there, 1 now',
    ]


def test_search_by_short_trainings(place, job, capsys):
    words = ['--method', 'short-trainings', '--candidates', '3', '--halving', '1', '2', '--budget', '60%']
    assert cli.main(job('search', *words)) == 0
    table, _ = capsys.readouterr()
    out = place / 'out'
    assert not (out / 'supernet.ckpt').exists()
    assert len(list(out.glob('short_trainings/1_epochs/*/result.json'))) == 3
    assert len(list(out.glob('short_trainings/2_epochs/*/result.json'))) == 2
    record = json.loads((out / 'widths.json').read_text())
    (trained,) = out.glob('finalists/*')
    assert json.loads((trained / 'widths.json').read_text())['widths'] == record['widths']
    assert same(trained, out)
    assert 'search.candidates' in (out / 'report.md').read_text()
    assert cli.main(job('search', *words)) == 0  # nothing is left to do
    assert capsys.readouterr().out == table


def test_the_same_file_with_weights_prunes(place, job, capsys):
    assert cli.main(job('search', '--weights', 'net.pt', '--epochs', '0', '--finetune-epochs', '0')) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith('| pruned ')
    assert json.loads((place / 'out' / 'job.json').read_text())['command'] == 'prune'


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 150
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_prune_without_a_supernet(place, capsys):
    words = [
        '--model',
        'net.py:net',
        '--weights',
        'net.pt',
        '--data',
        'imagefolder:photos',
        '--input',
        '1',
        '3',
        '12',
        '12',
    ]
    words += ['--method', 'knapsack', '--budget', '60%', '--batch-size', '8', '--device', 'cpu', '--output', 'out']
    assert cli.main(['prune', *words, '--finetune-epochs', '1']) == 0
    table, progress = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines() if line.startswith('|')]
    assert [row[0].partition(' ')[0] for row in rows[2:4]] == ['full', 'uniform']
    full = 6 * 6 * 27 * 6 + 3 * 3 * 9 * 6 * 8 + 8 * 3
    assert json.loads((place / 'out' / 'widths.json').read_text())['macs'] <= 0.6 * full
    assert len((place / 'out' / 'history.jsonl').read_text().splitlines()) == 1
    assert json.loads((place / 'out' / 'job.json').read_text())['configuration']['training']['epochs'] == 0
    assert cli.main(['search', *words, '--output', 'other']) == 2
    assert 'search.method: knapsack keeps the most important channels' in capsys.readouterr().err
