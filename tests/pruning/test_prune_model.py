from __future__ import annotations

import copy
import dataclasses
import json

import pytest
import torch
from helpers.crashes import Crash, crash_at
from nni.nas.evaluator.pytorch import Classification
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import EqualBins, LatencyTable, Pruned, PrunedFamily, RandomSearch, WidthMutator, load_slim, prune
from nni_cafenet.errors import FolderError, ResumeError
from nni_cafenet.pruning.checks import run_folder
from nni_cafenet.report.write import read_report
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.stages.train_finalists import train_finalist
from nni_cafenet.supernet.checkpoint import SaveEveryEpoch
from nni_cafenet.testing import digits

EXAMPLE = (1, 1, 8, 8)
BASE = 'fine-tuning: uniform (baseline)'
TRAIN, TEST = Subset(digits('train'), range(160)), Subset(digits('test'), range(80))
QUIET = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope='module')
def model():
    """A trained network."""
    torch.manual_seed(0)
    net = Net().train()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    x, y = (torch.stack(parts) for parts in zip(*TRAIN))
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def pruned(model, directory, budget='50%', **options):
    given = {
        'example_input': EXAMPLE,
        'train': DataLoader(TRAIN, 32, shuffle=True),
        'validate': DataLoader(TEST, 40),
        'epochs': 1,
        'finetune_epochs': 2,
        'search': RandomSearch(6),
        'bins': EqualBins(4),
        'min_ratio': 0.1,
        'holdout': 0.25,
        'statistics_batches': 2,
        'finalists': 1,
        'baseline': False,
        'device': 'cpu',
    }
    return prune(model, budget, directory=directory, **{**given, **options})


@pytest.fixture(scope='module')
def done(model, tmp_path_factory):
    """A run, and the model before it."""
    before = copy.deepcopy(model.state_dict())
    return pruned(model, tmp_path_factory.mktemp('run') / 'out', baseline=True, finalists=2), before


# --- the uniform network ------------------------------------------------------------------------------


def test_the_uniform_network_is_kept_where_none_is_better(model, tmp_path):
    def constant(output, target):
        return 0.5

    result = pruned(
        model, tmp_path / 'out', metric=constant, epochs=0, finetune_epochs=1, baseline=True, search=RandomSearch(2)
    )
    names = [network.name for network in result.report.networks]
    assert names == ['full', 'uniform (baseline)', 'finalist 1', 'uniform kept']
    baseline, _, kept = result.report.networks[1:]
    assert result.widths == kept.widths == baseline.widths
    said = 'Uniform kept: no finalist is better than the uniformly scaled network.'
    assert result.report.findings[0] == said
    assert said in str(result.report)


# --- what comes out -------------------------------------------------------------------------------


def test_a_really_smaller_network(done):
    result, _ = done
    assert isinstance(result, Pruned)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result.model(torch.zeros(EXAMPLE))
    assert counter.get_total_flops() == 2 * result.macs
    assert result.params == sum(each.numel() for each in result.model.parameters())
    full = result.report.networks[0]
    assert result.macs <= full.macs // 2
    assert type(result.model) is Net
    assert not result.model.training
    assert result.model.conv1.out_channels == result.widths['conv1'] == len(result.kept['conv1'])


def test_the_original_stays_as_it_is(done, model):
    _, before = done
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.training


def test_the_report(done):
    result, _ = done
    full, uniform, small = result.report.networks
    assert [full.name, uniform.name, small.name] == ['full', 'uniform (baseline)', 'pruned']
    assert result.report.metric == 'val_acc'
    assert None not in (full.before, uniform.inherited, uniform.finetuned, small.inherited, small.finetuned)
    images, labels = (torch.stack(parts) for parts in zip(*TEST))
    with torch.no_grad():
        accuracy = (result.model(images).argmax(1) == labels).double().mean().item()
    assert small.finetuned == result.metric == pytest.approx(accuracy)
    text = str(result.report)
    assert 'val_acc before' in text
    assert f'{100 * result.macs / full.macs:.1f} %' in text
    for file in ('report.md', 'report.html', 'report.json', 'load_slim.py'):
        assert (result.directory / file).stat().st_size > 0
    assert read_report(result.directory) == result.report
    assert set(result.report.curves) == {'supernet', *(f'fine-tuning: finalist {rank}' for rank in (1, 2)), BASE}
    for network in result.report.networks:
        assert sum(layer.macs for layer in network.layers) == network.macs
        assert network.measured_ns > 0


def test_the_files_make_the_network_again(done):
    result, _ = done
    again = load_slim(Net, result.directory).eval()
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(again(x), result.model(x), rtol=0, atol=0)
    record = json.loads((result.directory / 'widths.json').read_text())
    assert (record['widths'], record['macs'], record['params']) == (result.widths, result.macs, result.params)


def test_started_again_it_is_there_at_once(done, model, monkeypatch):
    result, _ = done
    monkeypatch.setattr(Scorer, 'score', None)
    monkeypatch.setattr(SaveEveryEpoch, '_save', None)
    again = pruned(model, result.directory, baseline=True, finalists=2)
    assert again.report == result.report  # with the latencies of then
    assert same(again.model, result.model)


def test_untrained_it_is_a_part_of_the_original(model, tmp_path):
    result = pruned(model, tmp_path / 'out', epochs=0, finetune_epochs=0)
    space = WidthMutator(bins=EqualBins(4)).mutate(copy.deepcopy(model), example_input=EXAMPLE)
    part = dict(space.slim(result.widths, result.kept).named_parameters())
    for name, parameter in result.model.named_parameters():
        assert torch.equal(parameter, part[name])
    for label, kept in result.kept.items():
        norms = dict(model.named_parameters())[f'{label}.weight'].abs().sum((1, 2, 3))
        dropped = [i for i in range(len(norms)) if i not in kept.tolist()]
        zone = sorted(range(len(norms)), key=lambda i: -norms[i])[: len(kept) + 2 * len(norms) // 4]
        assert set(kept.tolist()) <= set(zone)  # locally free: within the zone around the largest
        assert dropped or result.widths[label] == len(norms)
    assert result.report.networks[-1].finetuned is None


def same(one, other):
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


# --- ways to ask ----------------------------------------------------------------------------------


def test_a_family(model, tmp_path):
    family = pruned(model, tmp_path / 'out', ['60%', '30%'], finetune_epochs=1)
    assert isinstance(family, PrunedFamily)
    assert len(family) == 2
    assert family[0].macs > family[1].macs
    assert [each.name for each in family.report.networks] == ['full', 'pruned to 60%', 'pruned to 30%']
    assert [each.directory for each in family] == [tmp_path / 'out' / '60%', tmp_path / 'out' / '30%']
    for each in family:
        assert same(load_slim(Net, each.directory), each.model)


def test_a_latency(model, tmp_path, monkeypatch):
    space = WidthMutator(bins=EqualBins(4), min_ratio=0.1).mutate(copy.deepcopy(model), example_input=EXAMPLE)
    measured = LatencyTable.measure(space, points=2, rounds=1, networks=2, held_out=2, progress=False)
    # whatever this machine measures, a budget that asks for half of the range can be kept
    least, most = (measured.latency(widths) for widths in (space.smallest_widths, space.full_widths))
    budget = {'latency': f'{(least + most) / 2:.0f}ns', 'table': measured, 'threads': 1}
    result = pruned(model, tmp_path / 'out', budget=budget, epochs=0, finetune_epochs=0, search=RandomSearch(2))
    full, slim = result.report.networks
    assert slim.predicted_ns == measured.latency(result.widths) <= (least + most) / 2 + 1
    assert full.predicted_ns == most
    assert min(full.measured_ns, slim.measured_ns) > 0
    elsewhere = dataclasses.replace(measured, device='cuda')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    result = pruned(
        model,
        tmp_path / 'b',
        budget={**budget, 'table': elsewhere},
        epochs=0,
        finetune_epochs=0,
        search=RandomSearch(2),
    )
    assert result.report.networks[0].measured_ns is None


def test_an_evaluator_of_nni(model, tmp_path):
    evaluator = Classification(
        num_classes=10,
        export_onnx=False,
        train_dataloaders=DataLoader(TRAIN, 32, shuffle=True),
        val_dataloaders=DataLoader(TEST, 40),
        accelerator='cpu',
        max_epochs=99,
        num_sanity_val_steps=0,
        **QUIET,
    )
    result = pruned(
        model, tmp_path / 'out', evaluator=evaluator, train=None, validate=None, device='auto', importance='taylor'
    )
    assert result.report.metric == 'val_acc'
    assert result.report.networks[1].finetuned is not None


@pytest.mark.parametrize(
    'options', [{'importance': None}, {'importance': 'bn', 'distill': False}, {'importance': 'taylor'}]
)
def test_other_options_give_other_networks(done, model, tmp_path, options):
    result = pruned(model, tmp_path / 'out', **options)
    assert result.widths != done[0].widths or not same(result.model, done[0].model)
    assert result.report.networks[1].finetuned is not None


# --- killed ---------------------------------------------------------------------------------------


def untimed(report):
    return [dataclasses.replace(network, measured_ns=None, measured_range=None) for network in report.networks]


@pytest.fixture(scope='module')
def uninterrupted(model, tmp_path_factory):
    """A run of two epochs that nothing stops."""
    return pruned(model, tmp_path_factory.mktemp('whole') / 'out', epochs=2)


@pytest.mark.parametrize('stage', ['supernet', 'search', 'fine-tuning', 'results'])
def test_killed_and_started_again_it_ends_the_same(model, uninterrupted, tmp_path, monkeypatch, stage):
    wanted = uninterrupted
    with monkeypatch.context() as patch:
        if stage == 'supernet':
            patch.setattr(SaveEveryEpoch, '_save', crash_at(2, SaveEveryEpoch._save))
        elif stage == 'search':
            patch.setattr(Scorer, 'score', crash_at(4, Scorer.score))
        elif stage == 'fine-tuning':
            patch.setattr('nni_cafenet.stages.context.train_finalist', crash_at(1, train_finalist))
        else:
            patch.setattr('nni_cafenet.pruning.results.save_slim', crash_at(1, None))
        with pytest.raises(Crash):
            pruned(model, tmp_path / 'killed', epochs=2)
    result = pruned(model, tmp_path / 'killed', epochs=2)
    assert result.widths == wanted.widths
    assert same(result.model, wanted.model)
    assert untimed(result.report) == untimed(wanted.report)


# --- bad input ------------------------------------------------------------------------------------


def other_data(x):
    return DataLoader(TensorDataset(x, torch.zeros(len(x), dtype=torch.long)), 8)


@pytest.mark.parametrize(
    ('options', 'error', 'match'),
    [
        ({'train': None}, ValueError, 'train=None: give a loader'),
        ({'validate': None}, ValueError, 'validate=None: give a loader'),
        (
            {'train': DataLoader(Subset(TRAIN, range(3)), 8, drop_last=True)},
            ValueError,
            'train: the loader yields no batch',
        ),
        (
            {'train': other_data(torch.zeros(16, 1, 12, 12))},
            ValueError,
            '.1, 12, 12., but example_input has',
        ),
        (
            {'train': other_data(torch.zeros(16, 1, 8, 8).double())},
            ValueError,
            'float64 inputs, but the model is',
        ),
        ({'epochs': -1}, ValueError, 'epochs=-1 must be'),
        ({'finetune_epochs': 1.5}, ValueError, 'finetune_epochs=1.5 must be'),
        ({'finalists': 0}, ValueError, 'finalists=0 must be'),
        ({'budget': '1%'}, ValueError, 'smallest reachable network'),
        ({'device': 'gpu'}, ValueError, "device='gpu' must be"),
        ({'device': 'cuda:99'}, ValueError, "device='cuda:99': "),
        ({'importance': 'magic'}, ValueError, "importance='magic' must be one of"),
        ({'seed': 'x'}, ValueError, "seed='x' must be"),
        ({'budget': []}, ValueError, 'lists no budget'),
        ({'train': TRAIN}, TypeError, 'train: is a data set. Give a loader of it'),
        ({'validate': DataLoader(Subset(TRAIN, []), 8)}, ValueError, 'validate: the loader yields no batch'),
        ({'validate': other_data(torch.zeros(16, 1, 8, 8).double())}, ValueError, 'validate: Net cannot be called'),
        ({'metric': lambda output, target: output}, TypeError, 'metric: metric returned a float32 tensor'),
        ({'score': 'val_top5'}, ValueError, "score='val_top5' must be one of loss, val_loss, val_acc"),
        ({'optimizer': torch.optim.SGD([torch.zeros(1)])}, TypeError, 'optimizer: a SGD cannot be called'),
        ({'optimizer': lambda parameters: None}, TypeError, 'returned NoneType. It must make'),
        ({'evaluator': 3}, TypeError, 'evaluator=int cannot train'),
        ({'loss': 'hinge'}, ValueError, "loss='hinge'"),
    ],
)
def test_bad_arguments(model, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        pruned(model, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('change', 'error', 'match'),
    [
        (lambda model: 'resnet18', TypeError, "model='resnet18' must be a trained"),
        (lambda model: model.half(), ValueError, 'conv1.weight is float16, too coarse'),
        (lambda model: model.to('meta'), ValueError, 'conv1.weight is on the meta device'),
        (lambda model: model.requires_grad_(False), ValueError, 'all of its parameters are frozen'),
    ],
)
def test_bad_models(model, tmp_path, change, error, match):
    with pytest.raises(error, match=match):
        pruned(change(copy.deepcopy(model)), tmp_path / 'out')


def test_evaluator_beside_loaders(model, tmp_path):
    evaluator = Classification(num_classes=10, train_dataloaders=DataLoader(TRAIN, 32), **QUIET)
    with pytest.raises(ValueError, match='train, validate: given beside evaluator'):
        pruned(model, tmp_path / 'out', evaluator=evaluator)
    with pytest.raises(ValueError, match="those of the evaluator's trainer"):
        pruned(model, tmp_path / 'out', evaluator=evaluator, train=None, validate=None, precision='16-mixed')


def test_folders_of_others(done, model, tmp_path):
    (tmp_path / 'photo.jpg').touch()
    with pytest.raises(FolderError, match='is not empty and holds no run'):
        pruned(model, tmp_path)
    killed = tmp_path / 'killed'  # while it wrote its first record
    killed.mkdir()
    (killed / '.prune.json.0123abcd.tmp').touch()
    assert run_folder(killed) == killed
    with pytest.raises(FolderError, match='is a file'):
        pruned(model, tmp_path / 'photo.jpg')
    with pytest.raises(ResumeError, match='epochs: 1 there, 3 now'):
        pruned(model, done[0].directory, epochs=3, baseline=True, finalists=2)
    with pytest.raises(ResumeError, match='model: '):
        pruned(Net(), done[0].directory, baseline=True, finalists=2)


# --- what the user holds ------------------------------------------------------------------------------


def test_batch_normalization_held_in_eval_mode_stays_there(model, tmp_path):
    given = copy.deepcopy(model).train()
    given.bn1.eval()
    given.conv1.weight.requires_grad_(False)
    found = pruned(given, tmp_path / 'out', importance=None, min_ratio={'conv1': 1, 'conv2': 0.1}, baseline=True)
    slim = found.model
    torch.testing.assert_close(slim.bn1.running_mean, given.bn1.running_mean, rtol=0, atol=0)
    torch.testing.assert_close(slim.bn1.running_var, given.bn1.running_var, rtol=0, atol=0)
    torch.testing.assert_close(slim.conv1.weight, given.conv1.weight, rtol=0, atol=0)
    assert slim.bn2.num_batches_tracked != given.bn2.num_batches_tracked
    assert (given.bn1.training, given.bn2.training, slim.conv1.weight.requires_grad) == (False, True, False)
