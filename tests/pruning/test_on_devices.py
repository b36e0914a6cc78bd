"""`prune` and `CafeNetPruner` on two devices: a script that Lightning runs a second time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

START = """
import json, sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet import CafeNetPruner, RandomSearch, prune
from nni_cafenet.ranks import rank_and_ranks
from nni_cafenet.testing import SmallResNet, digits

def options():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = digits('train').tensors
    return dict(
        example_input=(1, 1, 8, 8),
        train=DataLoader(TensorDataset(images[:96], labels[:96]), 32, shuffle=True),
        validate=DataLoader(TensorDataset(images[96:141], labels[96:141]), 32),
        epochs=1, search=RandomSearch(4), headroom=0, statistics_batches=1,
        device='cpu', devices=2, directory=Path(sys.argv[1]) / 'run',
    )

def write(model, **found):
    rank, ranks = rank_and_ranks()
    weights = [float(each.double().sum()) for each in model.parameters()]
    record = {'ranks': ranks, 'weights': weights, **found}
    (Path(sys.argv[1]) / f'rank{rank}.json').write_text(json.dumps(record))
"""
"""What both scripts begin with."""

SCRIPT = """
if __name__ == '__main__':
    given = options()
    pruned = prune(SmallResNet(width=4), '50%', finetune_epochs=1, finalists=1, **given)
    write(pruned.model, widths=pruned.widths, metric=pruned.metric, report=str(pruned.report))
"""

PRUNER = """
if __name__ == '__main__':
    given = options()
    pruner = CafeNetPruner(SmallResNet(width=4), None, budget='50%', finetune_epochs=0, **given)
    _, masks = pruner.compress()
    sums = {name: {key: float(mask.sum()) for key, mask in own.items()} for name, own in masks.items()}
    write(pruner.speedup(), widths=pruner.pruned.widths, masks=sums)
"""


def records_of(tmp_path, text):
    """Run a script that starts its second process; return what both wrote down, and their standard error."""
    script = tmp_path / 'script.py'
    script.write_text(START + text)
    paths = [str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(script), str(tmp_path)],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((tmp_path / f'rank{rank}.json').read_text()) for rank in (0, 1)], done.stderr


def test_both_processes_of_a_pruner_have_the_same_masks(tmp_path):
    (first, second), _ = records_of(tmp_path, PRUNER)
    assert first['ranks'] == 2
    assert first == second


def test_both_processes_return_the_same_network_and_one_writes_it(tmp_path):
    (first, second), stderr = records_of(tmp_path, SCRIPT)
    assert first['ranks'] == 2
    assert first == second
    assert {'widths.json', 'slim.pt', 'report.html'} <= {path.name for path in (tmp_path / 'run').iterdir()}
    assert stderr.count('Supernet: 100%') <= 3  # the bar of one process, which is drawn again at its end
