from __future__ import annotations

import copy
import pickle
import random

import pytest
import torch
from nni.experiment.config.training_services import LocalConfig  # noqa: F401 - registers the platform
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperimentConfig
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import DARTS, ENAS, GumbelDARTS, Proxyless, Random, RandomOneShot
from nni.nas.strategy.rl import has_tianshou
from torch import nn
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, EqualBins, RandomSearch, WidthMutator, WidthSpace
from nni_cafenet.space.width_space import OneShotWidthSpace
from nni_cafenet.testing import digits

IMAGES, LABELS = digits('train').tensors


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.fc = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.conv2(self.bn1(self.conv1(x)).relu()).relu().mean((2, 3)))


@pytest.fixture(scope='module')
def template():
    return WidthMutator(bins=EqualBins(4)).mutate(Net, example_input=(1, 1, 8, 8))


@pytest.fixture
def space(template):
    return copy.deepcopy(template)


@pytest.fixture
def evaluator(tmp_path):
    def make(**options):
        return Classification(
            num_classes=10,
            learning_rate=0.05,
            train_dataloaders=DataLoader(TensorDataset(IMAGES[:200], LABELS[:200]), batch_size=20),
            val_dataloaders=DataLoader(TensorDataset(IMAGES[200:240], LABELS[200:240]), batch_size=20),
            accelerator='cpu',
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(tmp_path),
            **{'max_epochs': 1, **options},
        )

    return make


@pytest.fixture
def activated(monkeypatch):
    """The widths of every call of `WidthSpace.activate`."""
    calls = []
    released = WidthSpace.activate

    def activate(self, widths, channel_sets=None):
        calls.append(dict(widths))
        released(self, widths, channel_sets)

    monkeypatch.setattr(WidthSpace, 'activate', activate)
    return calls


def test_as_released_the_full_network_alone_would_be_trained(space, monkeypatch):
    monkeypatch.delattr(WidthSpace, 'extra_oneshot_hooks')
    strategy = RandomOneShot()
    assert strategy.mutate_model(space) is space
    module = strategy.configure_oneshot_module(Classification(num_classes=10).module)
    module.set_model(space)
    assert module.resample() == {}
    assert len(space.labels) == 2


@pytest.mark.filterwarnings('ignore:Direct export from RandomOneShot:UserWarning')
def test_random_one_shot_trains_the_space_and_exports_a_slim_model(space, evaluator, run_experiment, activated):
    before = copy.deepcopy(space.state_dict())
    random.seed(1)
    experiment = run_experiment(space, evaluator(), RandomOneShot())
    # Two batches of the sanity check, ten of training, two of validation.
    assert len(activated) == 14
    assert {label: {widths[label] for widths in activated} for label in space.labels} == {
        label: set(allowed) for label, allowed in space.choices.items()
    }
    assert all(not torch.equal(value, before[name]) for name, value in space.named_parameters())
    assert list(space.state_dict()) == list(before)

    (exported,) = experiment.export_top_models()
    (slim,) = experiment.export_top_models(formatter='instance')
    assert space.contains(exported.sample)
    assert type(slim) is Net
    widths = {'conv1': slim.conv1.out_channels, 'conv2': slim.conv2.out_channels}
    assert space.contains(widths)
    torch.testing.assert_close(slim.conv1.weight, space.full_model.conv1.weight[: widths['conv1']])
    slim.eval()
    space.eval()
    space.activate(widths)
    torch.testing.assert_close(slim(IMAGES[:4]), space(IMAGES[:4]))


def test_a_filter_keeps_what_is_trained_within_a_budget(space, evaluator, run_experiment, activated, monkeypatch):
    limit = space.macs(space.full_widths) // 2
    ran = []
    forward = WidthSpace.forward
    monkeypatch.setattr(WidthSpace, 'forward', lambda self, x: (ran.append(activated[-1]), forward(self, x))[1])
    random.seed(0)
    run_experiment(space, evaluator(), RandomOneShot(filter=lambda sample: space.macs(sample) <= limit))
    assert len(ran) == 14
    assert all(space.macs(widths) <= limit for widths in ran)
    assert any(space.macs(widths) > limit for widths in activated)


@pytest.mark.filterwarnings('ignore:Direct export from RandomOneShot:UserWarning')
def test_a_second_experiment_searches_on_the_trained_supernet(space, evaluator, run_experiment):
    run_experiment(space, evaluator(), RandomOneShot())
    seen = []
    experiment = run_experiment(space, FunctionalEvaluator(lambda model: seen.append(model)), Random(seed=0), _three())
    assert experiment.config.execution_engine.name == 'sequential'
    weight = space.full_model.conv1.weight
    assert len(seen) == 3
    for model in seen:
        torch.testing.assert_close(model.conv1.weight, weight[: model.conv1.out_channels])


def _three():
    config = NasExperimentConfig('sequential', 'raw', 'local')
    config.execution_engine.max_model_count = 3
    return config


@pytest.mark.skipif(not has_tianshou, reason='tianshou is not installed')
def test_enas(space, evaluator, run_experiment, activated):
    before = copy.deepcopy(space.state_dict())
    strategy = ENAS(reward_metric_name='val_acc', batches_per_update=2, log_prob_every_n_step=2)
    experiment = run_experiment(space, evaluator(), strategy)
    assert len(activated) == 12  # ten batches of training, two that the controller learns from
    assert all(not torch.equal(value, before[name]) for name, value in space.named_parameters())
    assert strategy.oneshot_module._trajectory_counter == 2
    (slim,) = experiment.export_top_models(formatter='instance')
    assert space.contains({'conv1': slim.conv1.out_channels, 'conv2': slim.conv2.out_channels})


@pytest.mark.parametrize('strategy', [DARTS, GumbelDARTS, Proxyless])
def test_differentiable_strategies_are_refused(space, evaluator, run_experiment, strategy):
    message = f'{strategy.__name__} is differentiable.*Use RandomOneShot'
    with pytest.raises(TypeError, match=message):
        run_experiment(space, evaluator(), strategy())
    assert type(space) is WidthSpace


def test_widths_of_others_are_taken(space):
    OneShotStrategy().mutate_model(space)
    given = {'conv1': 4, 'conv2': 8, 'another': 'choice'}
    assert space.resample(given) == space.export(given) == {'conv1': 4, 'conv2': 8}
    assert space(IMAGES[:2]).shape == (2, 10)
    assert space.resample({'conv1': 4})['conv1'] == 4


def test_the_draws_follow_pythons_seed_and_are_uniform(space):
    OneShotStrategy().mutate_model(space)

    def draws():
        random.seed(3)
        return [tuple(space.export({}).values()) for _ in range(300)]

    first = draws()
    assert draws() == first
    for group, allowed in enumerate(space.choices.values()):
        counts = [sum(widths[group] == width for widths in first) for width in allowed]
        assert min(counts) > 0.6 * 300 / len(allowed)


def test_it_stays_a_width_space(space, evaluator, run_experiment, tmp_path):
    RandomOneShot().mutate_model(space)
    assert type(space) is OneShotWidthSpace
    assert type(pickle.loads(pickle.dumps(copy.deepcopy(space.full_model)))) is Net
    assert type(copy.deepcopy(space)) is OneShotWidthSpace
    assert SimplifiedModelSpace.from_model(space, None).model.trace_symbol is WidthSpace
    strategy = CafeNet('50%', search=RandomSearch(3), holdout=0.2, directory=tmp_path / 'run')
    assert len(run_experiment(space, evaluator(), strategy).export_top_models(3)) == 3


def test_with_several_processes_all_train_what_the_first_drew(space, monkeypatch):
    OneShotStrategy().mutate_model(space)
    sent = []

    def broadcast(values):
        sent.append(dict(values[0]))
        values[0] = {'conv1': 8, 'conv2': 4}

    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.distributed, 'broadcast_object_list', broadcast)
    assert space.resample({}) == {'conv1': 8, 'conv2': 4}
    assert list(sent[0]) == ['conv1', 'conv2']
