from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nni_cafenet.utils.json_records import read_records

SCRIPT = '''
"""One search by two processes; each writes down what it did."""
import json, os, sys
from pathlib import Path

import torch
import torchmetrics
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperiment
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, EqualBins, LocallyFree, RandomSearch, WidthMutator, WidthSpace
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.supernet.graph_memory import GraphMemory
from nni_cafenet.testing import digits

IMAGES, LABELS = (tensor[:120] for tensor in digits('train').tensors)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(x.mean((2, 3)))


class User(LightningModule):
    def __init__(self):
        super().__init__()
        self.accuracy = torchmetrics.Accuracy('multiclass', num_classes=10)

    def training_step(self, batch, batch_idx):
        x, y, ids = batch
        loss = cross_entropy(self.model(x), y)
        if self.training and active is not None:  # not in the look at the first batch
            steps.append({'epoch': self.current_epoch, 'ids': ids.tolist(), 'sets': active, 'loss': float(loss)})
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if active is not None:
            winners.append(active)

    def on_train_end(self):
        self.final = {name: p.tolist() for name, p in self.model.named_parameters()}

    def validation_step(self, batch, batch_idx):
        x, y, _ = batch
        self.accuracy(self.model(x), y)
        self.log('val_acc', self.accuracy)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


steps, winners, active, scores = [], [], None, []
activate, score = WidthSpace.activate, Scorer.score


def count(self, widths):
    scores.append(dict(widths))
    return score(self, widths)


def watch(self, widths, channel_sets=None):
    global active
    active = channel_sets and {label: chosen.tolist() for label, chosen in channel_sets.items()}
    return activate(self, widths, channel_sets)


if __name__ == '__main__':
    WidthSpace.activate, Scorer.score = watch, count
    torch.set_num_threads(1)
    root, rank = Path(sys.argv[1]), int(os.environ.get('LOCAL_RANK', 0))
    looks = []
    GraphMemory.is_short = lambda room, device: looks.append(room) or (rank == 1 and len(looks) == 6)
    torch.manual_seed(7)
    space = WidthMutator(bins=EqualBins(8), verify=False).mutate(Net, example_input=(2, 1, 8, 8))
    torch.manual_seed(rank)  # whatever else the processes draw, they must agree
    loader = DataLoader(TensorDataset(IMAGES, LABELS, torch.arange(120)), batch_size=12, shuffle=True)
    trainer = Trainer(
        accelerator='cpu', devices=2, strategy='ddp', max_epochs=3, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=str(root / 'lightning'),
    )
    user = User()
    strategy = CafeNet('50%', sharing=LocallyFree(3), search=RandomSearch(6), score='val_acc', holdout=0.2,
                       statistics_batches=2)
    experiment = NasExperiment(space, Lightning(user, trainer, train_dataloaders=loader), strategy)
    experiment.config.experiment_working_directory = str(root / 'nni')
    experiment.run()
    Scorer.score = score
    record = {
        'scores': scores,
        'again': [strategy._context.scorer.score(each.widths).to_json() for each in strategy.history],
        'rank': trainer.global_rank,
        'world': trainer.world_size,
        'steps': steps,
        'winners': winners,
        'final': user.final,
        'heldout': [int(i) for batch in strategy._context.supernet.data.heldout for i in batch[2]],
        'history': [scored.to_json() for scored in strategy.history],
        'best': experiment.export_top_models(formatter='dict'),
    }
    (root / f'rank{rank}.json').write_text(json.dumps(record))
'''


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """What the two processes wrote down, and their folder."""
    return run_of_two(tmp_path_factory.mktemp('ddp'), SCRIPT)


def run_of_two(root, text):
    script = root / 'script.py'
    script.write_text(text)
    environment = {
        **os.environ,
        'HOME': str(root),
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]),
    }
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(script), str(root)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    records = [json.loads((root / f'rank{rank}.json').read_text()) for rank in (0, 1)]
    assert [(record['rank'], record['world']) for record in records] == [(0, 2), (1, 2)]
    return records, root


LEVERS = {
    'sandwich': "sharing=Bilateral(), width_sampling=Sandwich(1), distill='alpha', ema=0.9",
    'soft minimum': "sharing=LocallyFree(3), width_sampling=NearBudget(per_step=2), combine='softmin'",
}


@pytest.mark.sweep
@pytest.mark.parametrize('lever', LEVERS)
def test_other_ways_to_train_agree_too(tmp_path, lever):
    names = 'from nni_cafenet import Bilateral, NearBudget, Sandwich\n\nIMAGES, LABELS ='
    text = SCRIPT.replace('sharing=LocallyFree(3)', LEVERS[lever]).replace('IMAGES, LABELS =', names, 1)
    assert LEVERS[lever] in text
    (one, other), _ = run_of_two(tmp_path, text)
    assert one['final'] == other['final']
    assert [step['sets'] for step in one['steps']] == [step['sets'] for step in other['steps']]
    assert one['history'] == other['history']


NATIVE = """
import nni
from nni.nas.nn.pytorch import ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear


class Native(ModelSpace):
    def __init__(self):
        super().__init__()
        a, b = nni.choice('a', [4, 6, 8]), nni.choice('b', [2, 4, 8])
        self.conv1, self.bn1 = MutableConv2d(1, a, 3, padding=1), MutableBatchNorm2d(a)
        self.conv2, self.bn2 = MutableConv2d(a, b * 2, 3, stride=2, padding=1), MutableBatchNorm2d(b * 2)
        self.fc = MutableLinear(b * 2, 10)

    forward = Net.forward


class User("""


@pytest.mark.sweep
def test_a_space_of_nni_agrees_too(tmp_path):
    text = SCRIPT.replace('class User(', NATIVE, 1)
    made = 'WidthMutator(bins=EqualBins(8), verify=False).mutate(Net, example_input=(2, 1, 8, 8))'
    assert made in text
    (one, other), _ = run_of_two(tmp_path, text.replace(made, 'Native()'))
    assert one['final'] == other['final']
    assert [step['sets'] for step in one['steps']] == [step['sets'] for step in other['steps']]
    assert one['history'] == other['history']
    assert one['best'] == other['best']
    assert set(one['best'][0]) == {'a', 'b'}


def by_step(record):
    """Runs of the user's step, together for each batch."""
    batches = []
    for step in record['steps']:
        if batches and batches[-1][0]['ids'] == step['ids']:
            batches[-1].append(step)
        else:
            batches.append([step])
    return batches


def test_both_draw_the_same_widths_and_channel_sets(ranks):
    (first, second), _ = ranks
    assert [step['sets'] for step in first['steps']] == [step['sets'] for step in second['steps']]
    assert len({json.dumps(step['sets']) for step in first['steps']}) > 10
    # 96 training samples, 48 for each process: 4 batches an epoch
    assert len(by_step(first)) == len(by_step(second)) == 12


def test_both_choose_the_winner_by_the_mean_loss(ranks):
    (first, second), _ = ranks
    assert first['winners'] == second['winners']
    disagreed = 0
    for mine, theirs, winner in zip(by_step(first), by_step(second), first['winners']):
        losses = np.array([[step['loss'] for step in mine], [step['loss'] for step in theirs]])
        assert mine[int(losses.mean(0).argmin())]['sets'] == winner
        disagreed += losses[0].argmin() != losses[1].argmin()
    assert disagreed > 0  # else the mean was never put to the test


def test_memory_that_is_short_in_one_process_makes_both_keep_one_graph(ranks):
    runs = [[len(batch) for batch in by_step(record)] for record in ranks[0]]
    assert runs[0] == runs[1]
    assert runs[0][:5] == [2] * 5  # in the sixth the first graph is given up
    assert set(runs[0][5:]) == {2, 3}  # the winner once more, unless it was the last


def test_both_end_with_the_same_weights(ranks):
    (first, second), _ = ranks
    assert first['final'] == second['final']


def test_each_sees_its_own_samples_in_another_order_every_epoch(ranks):
    (first, second), _ = ranks
    assert first['heldout'] == second['heldout']
    seen = []
    for epoch in range(3):
        mine, theirs = (
            [i for batch in by_step(record) if batch[0]['epoch'] == epoch for i in batch[0]['ids']]
            for record in (first, second)
        )
        assert sorted(mine + theirs) == sorted(set(range(120)) - set(first['heldout']))
        seen.append((mine, theirs))
    assert len({str(mine) for mine, _ in seen}) == 3
    assert len({str(sorted(mine)) for mine, _ in seen}) == 3  # other halves, too


def test_both_give_the_same_result_and_one_folder_is_kept(ranks):
    (first, second), root = ranks
    assert first['history'] == second['history']
    assert first['best'] == second['best']
    assert len(first['history']) == 6
    assert all(round(24 * record['score'], 3) % 1 == 0 for record in first['history'])  # each of 24 samples counts once
    (folder,) = (root / 'lightning' / 'cafenet').iterdir()
    assert read_records(folder / 'history.jsonl', remedy='') == first['history']
    assert (folder / 'supernet.ckpt').exists()


def test_each_scores_its_share_as_one_process_would(ranks):
    (first, second), _ = ranks
    widths = [record['widths'] for record in first['history']]
    assert len(first['scores']) == len(second['scores']) == 3
    assert sorted(map(str, first['scores'] + second['scores'])) == sorted(map(str, widths))
    assert first['again'] == second['again'] == first['history']
