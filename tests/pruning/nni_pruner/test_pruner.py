from __future__ import annotations

import copy
import logging

import nni
import pytest
import pytorch_lightning as pl
import torch
from nni.compression import LightningEvaluator, TorchEvaluator
from nni.compression.pruning import L1NormPruner
from nni.compression.quantization import PtqQuantizer
from nni.compression.speedup import ModelSpeedup
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import CafeNetPruner, EqualBins, RandomSearch
from nni_cafenet.pruning.nni_pruner.masks import apply_masks
from nni_cafenet.testing import digits

EXAMPLE = (1, 1, 8, 8)
TRAIN, TEST = Subset(digits('train'), range(128)), Subset(digits('test'), range(60))
QUICK = {
    'epochs': 1, 'finetune_epochs': 1, 'search': RandomSearch(4), 'bins': EqualBins(4), 'holdout': 0.25,
    'statistics_batches': 1, 'finalists': 1, 'baseline': False,
}  # fmt: skip


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12)
        self.conv3 = nn.Conv2d(12, 12, 3, padding=1)
        self.fc = nn.Linear(12, 10)

    def forward(self, x):
        x = torch.sigmoid(self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())))
        return self.fc((x + self.conv3(x)).mean((2, 3)))


class Lit(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = Net()

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log('val_loss', cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.model.parameters(), 0.01)


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TRAIN, 32, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TEST, 60)


def training_func(model, optimizers, training_step, lr_schedulers=None, max_steps=None, max_epochs=None):
    for batch in DataLoader(TRAIN, 32, shuffle=True):
        training_step(batch, model)


def step(batch, model):
    return cross_entropy(model(batch[0]), batch[1])


def accuracy(model):
    x, y = next(iter(DataLoader(TEST, 60)))
    return float((model(x).argmax(1) == y).float().mean())


def torch_evaluator(net) -> TorchEvaluator:
    optimizer = nni.trace(torch.optim.Adam)(net.parameters(), lr=0.01)
    return TorchEvaluator(training_func, optimizer, step, dummy_input=torch.zeros(EXAMPLE), evaluating_func=accuracy)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """A run of every part that is needed more than once: pruner, original, its state before, what compress returned."""
    torch.manual_seed(0)
    net = Net()
    before = copy.deepcopy(net.state_dict())
    config_list = [
        {'op_types': ['Conv2d'], 'exclude_op_names': ['conv1']},
        {'op_names': ['conv2', 'conv3'], 'max_sparse_ratio': 0.75, 'min_sparse_ratio': 0.25},
    ]
    pruner = CafeNetPruner(
        net, config_list, torch_evaluator(net), budget='70%', directory=tmp_path_factory.mktemp('run') / 'out',
        device='cpu', precision='32-true', **QUICK,
    )  # fmt: skip
    ones = pruner.get_masks()
    return pruner, net, before, ones, pruner.compress()


def difference(left: nn.Module, right: nn.Module) -> float:
    """How far two networks are from each other, in float64, in shares of the largest output."""
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = (copy.deepcopy(each).double().eval()(x) for each in (left, right))
    return float((a - b).abs().max() / b.abs().max())


# --- what comes out -------------------------------------------------------------------------------


def test_the_masked_model_is_the_slim_one(done):
    pruner, net, _, _, (model, masks) = done
    slim = pruner.speedup()
    assert difference(model, slim) <= 1e-9
    assert difference(net, slim) > 1e-3  # it was trained
    again = copy.deepcopy(model)
    apply_masks(again, masks)
    assert all(torch.equal(each, model.state_dict()[name]) for name, each in again.state_dict().items())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        slim(torch.zeros(EXAMPLE))
    assert counter.get_total_flops() // 2 == pruner.pruned.macs <= 0.7 * pruner.report.networks[0].macs


def test_the_masks_are_those_of_the_original_order(done):
    pruner, _, _, _, (_, masks) = done
    kept = pruner.pruned.kept['conv2']
    assert masks['conv2']['bias'].nonzero().flatten().tolist() == kept.tolist()
    assert masks['bn2']['weight'].nonzero().flatten().tolist() == kept.tolist()
    assert masks['fc']['weight'][0].nonzero().flatten().tolist() == kept.tolist()
    assert masks['conv3']['weight'].sum() == 9 * len(kept) ** 2
    assert bool((masks['fc']['bias'] == 1).all())
    assert {owner: list(own) for owner, own in masks.items()} == {
        name: ['weight', 'bias'] for name in ('conv2', 'bn2', 'conv3', 'fc')
    }


def test_the_config_list_is_kept_to(done):
    pruner, *_ = done
    assert list(pruner.pruned.widths) == ['conv2']
    assert 3 <= pruner.pruned.widths['conv2'] <= 9  # of 12


def test_masks_are_ones_before(done):
    _, _, _, ones, (_, masks) = done
    assert ones.keys() == masks.keys()
    assert all(bool((mask == 1).all()) for own in ones.values() for mask in own.values())


def test_the_original_stays_as_it_is(done):
    _, net, before, _, (model, _) = done
    assert model is not net
    assert all(torch.equal(each, before[name]) for name, each in net.state_dict().items())
    assert net.training
    assert not hasattr(net.conv1, '_nni_wrapper')


def test_the_metric_of_the_evaluator(done):
    pruner, *_ = done
    assert pruner.report.metric == 'default'
    assert pruner.report.networks[-1].finetuned == pytest.approx(accuracy(pruner.speedup()))


def test_the_methods_of_nnis_pruners(done):
    pruner, _, _, _, (model, _) = done
    assert pruner.bound_model is model
    assert pruner.unwrap_model() is pruner.wrap_model() is None
    again, masks = pruner.compress()
    assert again is model
    masks['fc']['weight'].zero_()
    assert pruner.get_masks()['fc']['weight'].any()  # they are copies
    with pytest.raises(ValueError, match='max_steps=5: .* Give max_epochs'):
        pruner.compress(5)
    with pytest.raises(TypeError, match=r'wrappers of CafeNetPruner. Call its unwrap_model\(\), .* CafeNetPruner\('):
        CafeNetPruner.from_compressor(pruner, [])


def test_modelspeedup_makes_the_same_network(done):
    pruner, _, _, _, (model, masks) = done
    x, model = torch.randn(2, 1, 8, 8), copy.deepcopy(model).eval()
    logging.disable(logging.CRITICAL)
    try:
        fast = ModelSpeedup(model, x, masks, graph_module=torch.fx.symbolic_trace(model)).speedup_model().eval()
    finally:
        logging.disable(logging.NOTSET)
    assert difference(fast, pruner.speedup()) <= 1e-9
    assert sum(each.numel() for each in fast.parameters()) == pruner.pruned.params


def test_a_lightning_module_and_its_evaluator(tmp_path):
    torch.manual_seed(0)
    network = Lit()
    silent = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)
    evaluator = LightningEvaluator(nni.trace(pl.Trainer)(**silent, max_epochs=9, accelerator='cpu'), nni.trace(Data)())
    config_list = [{'op_names_re': [r'model\.conv[12]'], 'min': 0.25}]
    pruner = CafeNetPruner(
        network, config_list, evaluator, budget='80%', example_input=EXAMPLE, directory=tmp_path / 'out', **QUICK
    )
    model, masks = pruner.compress(max_epochs=1)
    slim = pruner.speedup()
    assert type(slim) is type(model) is Lit
    assert set(masks) == {'model.conv1', 'model.bn1', 'model.conv2'}  # conv3 may not change, so conv2 cannot
    assert difference(model, slim) <= 1e-9


def test_plain_loaders(net, tmp_path):
    pruner = CafeNetPruner(
        net, None, budget='50%', example_input=EXAMPLE, train=DataLoader(TRAIN, 32), validate=DataLoader(TEST, 60),
        directory=tmp_path / 'out', device='cpu', **{**QUICK, 'epochs': 0, 'finetune_epochs': 0},
    )  # fmt: skip
    with pytest.raises(RuntimeError, match=r'speedup: nothing is pruned yet'):
        pruner.speedup()
    model, _ = pruner.compress()
    assert difference(model, pruner.speedup()) <= 1e-9


# --- what masks cannot express --------------------------------------------------------------------


class Normed(nn.Module):
    def __init__(self, only_normed: bool = False) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2 if only_normed else 6)
        self.c = nn.Identity() if only_normed else nn.Linear(6, 2)

    def forward(self, x):
        return self.c(self.b(self.norm(self.a(x))).relu())


def test_groups_that_masks_cannot_express_keep_their_width(caplog):
    with caplog.at_level(logging.WARNING, 'nni_cafenet'):
        pruner = CafeNetPruner(Normed(), None, budget='50%', example_input=(2, 4))
    assert set(pruner.fixed) == {'a'}
    assert 'The channels of a keep their width: zeros in its weights do not do what its removal does' in caplog.text
    assert set(pruner.get_masks()) == {'b', 'c'}
    with pytest.raises(ValueError, match=r'masks cannot express the removal of channels of a, .*prune\(\)'):
        CafeNetPruner(Normed(only_normed=True), None, budget='50%', example_input=(2, 4))


def test_batch_norms_stand_for_the_layers_that_make_their_channels(net):
    norms, one_norm, makers, its_makers = (
        CafeNetPruner(net, [{**selected, 'max_sparse_ratio': 0.5}], budget='70%', example_input=EXAMPLE)._space.choices
        for selected in (
            {'op_types': ['BatchNorm2d']},
            {'op_names': ['bn2']},
            {'op_types': ['Conv2d']},
            {'op_names': ['conv2', 'conv3']},
        )
    )
    assert norms == makers
    assert one_norm == its_makers
    assert len(one_norm) == len(norms) - 1 == 1


def test_a_model_in_the_wrappers_of_another_pruner(net):
    L1NormPruner(net, [{'op_types': ['Conv2d'], 'sparse_ratio': 0.5}])
    with pytest.raises(ValueError, match=r"the layer 'conv1' is wrapped by one of NNI's pruners .*unwrap_model\(\)"):
        CafeNetPruner(net, None, budget='50%', example_input=EXAMPLE)


def test_nnis_quantizers_are_told_what_to_take(net):
    pruner = CafeNetPruner(net, None, budget='70%', example_input=EXAMPLE)
    with pytest.raises(TypeError, match=r'QATQuantizer\(pruner.speedup\(\)'):
        PtqQuantizer.from_compressor(pruner, [{'op_types': ['Conv2d']}])
    assert not hasattr(pruner, 'anything_else')


# --- what is refused, before any work -------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'kind', 'said'),
    [
        (
            {'epoch': 1, 'min_ratio': 0.5},
            TypeError,
            r"no options epoch, min_ratio \(use 'min' in config_list\). The options of",
        ),
        ({'include': ['fc']}, TypeError, r'include \(use op_names and exclude_op_names in config_list\)'),
        (
            {'budget': ['50%', '25%']},
            ValueError,
            r'masks describe a single network. .*nni_cafenet.prune\(\)',
        ),
        ({'example_input': None}, ValueError, 'example_input=None: '),
        ({'model': 'resnet18'}, TypeError, "model='resnet18' must be a trained torch.nn.Module"),
        ({'config_list': [{'op_types': ['Conv2d'], 'sparse_ratio': 0.5}]}, ValueError, 'the budget decides'),
        ({'evaluator': 3}, TypeError, 'evaluator=int cannot train networks of several widths'),
        ({'loss': 'mse', 'evaluator': 3}, ValueError, 'loss: given .*evaluator, which has its own'),
        ({'device': 'gpu', 'evaluator': 3}, ValueError, "device='gpu' must be 'auto', 'cpu'"),
        ({'devices': 0}, ValueError, 'devices'),
    ],
)
def test_what_cannot_be_used(net, options, kind, said):
    given = {'model': net, 'config_list': None, 'evaluator': None, 'budget': '50%', 'example_input': EXAMPLE}
    with pytest.raises(kind, match=said):
        CafeNetPruner(**{**given, **options})


def test_evaluators_of_one_process_refuse_several_devices(net):
    with pytest.raises(ValueError, match=r'devices=2: TorchEvaluator .* train, validate and loss'):
        CafeNetPruner(net, None, torch_evaluator(net), budget='50%', devices=2, device='cpu')


def test_evaluators_with_a_trainer_refuse_devices_beside_it():
    net = Lit()
    trainer = nni.trace(pl.Trainer)(max_epochs=1, logger=False, enable_checkpointing=False)
    data = nni.trace(pl.LightningDataModule.from_datasets)(TRAIN, TEST)
    evaluator = LightningEvaluator(trainer, data)
    with pytest.raises(ValueError, match=r"devices=2, strategy='ddp': .* LightningEvaluator.*Set them there"):
        CafeNetPruner(net, None, evaluator, budget='50%', example_input=EXAMPLE, devices=2, strategy='ddp')


def test_processes_that_torchrun_started_count_too(net, monkeypatch):
    started = {
        'TORCHELASTIC_RUN_ID': 'none',
        'RANK': '0',
        'LOCAL_RANK': '0',
        'WORLD_SIZE': '2',
        'LOCAL_WORLD_SIZE': '2',
    }
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r'devices=2 .*TorchEvaluator'):
        CafeNetPruner(net, None, torch_evaluator(net), budget='50%', device='cpu')
