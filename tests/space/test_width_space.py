from __future__ import annotations

import copy
import math

import nni
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from nni.mutable import Categorical, SampleValidationError
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.strategy import TPE, GridSearch, Random, RegularizedEvolution
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import EqualBins, WidthSpace
from nni_cafenet.errors import TraceError
from nni_cafenet.slicing.selection import Selection, put, take
from nni_cafenet.testing import SmallResNet, digits

X = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def small(**options) -> WidthSpace:
    torch.manual_seed(0)
    return WidthSpace(SmallResNet, example_input=(1, 1, 8, 8), **{'bins': EqualBins(4), 'verify': False, **options})


@pytest.fixture
def space():
    return small()


@pytest.fixture(scope='module')
def chain(wired):
    """0 makes 4 channels (a pool of 8 bins of one), 1 makes 6."""
    return lambda **options: WidthSpace(
        wired(lambda net, x: net.c(net.b(net.a(x))), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 6, 1), c=nn.Conv2d(6, 2, 1)),
        example_input=(1, 3, 2, 2),
        **{'bins': EqualBins(100), 'min_ratio': 0, **options},
    )


# --- the space ------------------------------------------------------------------------------------


def test_the_space_is_the_model_under_its_own_names(space):
    model = space.full_model
    assert list(space.state_dict()) == list(model.state_dict())
    assert [name for name, _ in space.named_modules()] == [name for name, _ in model.named_modules()]
    assert [id(p) for p in space.parameters()] == [id(p) for p in model.parameters()]
    assert torch.equal(space.eval()(X), model(X))
    assert isinstance(space, ModelSpace)


def test_modes_types_and_weights_reach_the_model(space):
    space.eval()
    assert not any(module.training for module in space.full_model.modules())
    assert not space.full_model.training
    space.train()
    assert all(module.training for module in space.full_model.modules())
    assert {p.dtype for p in space.double().full_model.parameters()} == {torch.float64}
    state = {name: torch.ones_like(tensor) for name, tensor in space.state_dict().items()}
    space.load_state_dict(state)
    assert float(next(space.full_model.parameters()).detach().mean()) == 1
    space.requires_grad_(False)
    assert not any(p.requires_grad for p in space.full_model.parameters())


def test_choices_and_widths(chain):
    space = chain()
    assert space.labels == ('a', 'b')
    assert space.choices == {'a': (1, 2, 3, 4), 'b': (1, 2, 3, 4, 5, 6)}
    assert space.full_widths == {'a': 4, 'b': 6}
    assert space.smallest_widths == {'a': 1, 'b': 1}
    assert space.uniform_widths(0.5) == {'a': 2, 'b': 3}
    assert space.uniform_widths(0) == space.smallest_widths
    assert space.uniform_widths(1) == space.full_widths
    assert space.to_widths(space.to_array({'b': 5, 'a': 2})[0]) == {'a': 2, 'b': 5}


def test_costs_by_hand(chain):
    space = chain()
    # 4 positions: 3 a + a b + 2 b; parameters: 4 a + (a + 1) b + 2 b + 2
    assert space.macs({'a': 3, 'b': 5}) == 4 * (9 + 15 + 10)
    assert space.params({'a': 3, 'b': 5}) == 12 + 20 + 12
    assert isinstance(space.macs({'a': 3, 'b': 5}), int)
    rows = np.array([[3, 5], [1, 1]])
    assert space.macs(rows).tolist() == [136, 24]
    assert space.params(rows).tolist() == [44, 4 + 2 + 4]


def test_the_description_gives_sizes_before_and_after_binning():
    described = small(min_ratio=0).describe()
    groups = [16] * 3 + [32] * 3 + [64] * 3
    space = small(min_ratio=0)
    assert sorted(space.full_widths.values()) == groups
    before = sum(math.log10(width) for width in groups)
    after = len(groups) * math.log10(4)
    assert f'{len(groups)} channel groups, {4 * len(groups)} bins: 10^{after:.1f} widths (10^{before:.1f}' in described
    assert f'{space.macs(space.full_widths):,} MACs' in described


def test_a_copy_is_a_space_of_its_own(space, draw):
    space.eval()
    twin = copy.deepcopy(space)
    assert [id(p) for p in twin.parameters()] == [id(p) for p in twin.full_model.parameters()]
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in space.parameters()}
    widths, sets = draw(space, 1)
    twin.activate(widths, sets)
    expected = space.slim(widths, sets)(X)
    torch.testing.assert_close(twin(X), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    torch.testing.assert_close(space.slim(widths, sets)(X), expected)
    assert space.full_model(X).shape == (3, 10)  # attributes of the first are those of full width
    assert repr(twin.simplify()) == repr(space.simplify())


# --- activate and slim ----------------------------------------------------------------------------


def test_activate_changes_what_a_call_runs_until_the_next(space, draw):
    space.eval()
    full = space(X)
    for seed in range(3):
        widths, sets = draw(space, seed)
        space.activate(widths, sets)
        torch.testing.assert_close(space(X), space.slim(widths, sets)(X))
        assert not torch.allclose(space(X), full, rtol=1e-3)
    space.activate(space.full_widths)
    torch.testing.assert_close(space(X), full)


def test_without_sets_the_leftmost_channels_run(space):
    space.eval()
    widths = space.uniform_widths(0.5)
    space.activate(widths)
    left = space(X)
    space.activate(widths, {label: torch.arange(width) for label, width in widths.items()})
    assert torch.equal(space(X), left)
    some = dict(list({label: torch.arange(1, width + 1) for label, width in widths.items()}.items())[:1])
    space.activate(widths, some)  # sets of some groups, the leftmost of the others
    torch.testing.assert_close(space(X), space.slim(widths, some)(X))
    assert not torch.allclose(space(X), left)


def test_channel_sets_may_be_lists(space):
    widths = space.smallest_widths
    sets = {label: list(range(1, width + 1)) for label, width in widths.items()}
    space.eval().activate(widths, sets)
    assert torch.equal(space(X), space.slim(widths, {k: torch.tensor(v) for k, v in sets.items()})(X))


def test_backward_of_one_set_after_the_forward_of_another(space, draw):
    # As min-min training does: two forwards, then the backward of the first.
    space.double().train()
    x = X.double()
    (first, sets), (second, others) = draw(space, 1), draw(space, 2)
    slim = space.slim(first, sets)
    slim(x).square().sum().backward()
    space.activate(first, sets)
    loss = space(x).square().sum()
    space.activate(second, others)
    space(x)
    loss.backward()
    positions = Selection(space.graph, sets).positions
    own = dict(space.named_parameters())
    for name, parameter in slim.named_parameters():
        torch.testing.assert_close(take(own[name].grad, positions.get(name, (None,) * parameter.dim())), parameter.grad)


def test_functional_normalization_also_keeps_its_statistics(wired):
    def normed(net, x):
        y = nn.functional.batch_norm(net.a(x), net.mean, net.variance, training=net.training)
        return net.b(y)

    model = wired(normed, a=nn.Conv2d(3, 4, 1), mean=torch.zeros(4), variance=torch.ones(4), b=nn.Conv2d(4, 2, 1))
    space = WidthSpace(model, example_input=(1, 3, 4, 4), min_ratio=0).train()
    before = space.mean.clone()
    space.activate({'a': 2}, {'a': torch.tensor([0, 2])})
    space(torch.randn(4, 3, 4, 4))
    assert (space.mean != before).tolist() == [True, False, True, False]


def test_prepared_calls_run_on_copies(space, draw):
    widths, sets = draw(space, 4)
    space.train().activate(widths, sets)
    before = copy.deepcopy(space.state_dict())
    slim = space.slim(widths, sets)
    with space.prepared() as tensors:
        with torch.no_grad():
            result = space(X)
            space(X)
        for name, buffer in tensors.items():
            if 'num_batches' in name:
                assert buffer.item() == before[name].item() + 2
    torch.testing.assert_close(result, slim(X).detach())
    assert all(torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())
    space(X)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())


def test_what_is_prepared_stays_to_the_end_of_the_block(space, draw):
    widths, sets = draw(space, 4)
    space.activate(widths, sets)
    with space.prepared() as tensors:
        assert all(tensors[name] is tensor for name, tensor in space.full_model.named_buffers())
        with pytest.raises(RuntimeError, match=r'leave the block of prepared\(\) first'):
            space.activate(widths)
        with pytest.raises(RuntimeError, match='leave the block'), space.prepared():
            pass
        assert space.full_model.training == space.training
    space.activate(space.full_widths)


# --- same outputs and exact costs, over all widths and channel sets (docs/contracts.md) ------------


def mixture(net, x):
    """Every way to be tied: residual sum, concatenation, depthwise and grouped layers, a gate, a flattened picture."""
    y = net.first(x)
    y = torch.relu(net.norm(y + net.second(y)))
    gate = torch.sigmoid(net.up(torch.relu(net.down(y.mean((2, 3))))))
    z = torch.cat([net.depthwise(y), net.grouped(y * gate[:, :, None, None]), x], 1)
    return net.head(net.last(z).flatten(1))


@pytest.fixture(scope='module')
def mixed(wired):
    model = wired(
        mixture,
        first=nn.Conv2d(3, 8, 3, padding=1),
        second=nn.Conv2d(8, 8, 1),
        norm=nn.BatchNorm2d(8),
        down=nn.Linear(8, 3),
        up=nn.Linear(3, 8),
        depthwise=nn.Conv2d(8, 8, 3, padding=1, groups=8),
        grouped=nn.Conv2d(8, 12, 1, groups=2),
        last=nn.Conv2d(23, 5, 1),
        head=nn.Linear(5 * 16, 2),
    )
    return WidthSpace(model.double(), example_input=(1, 3, 4, 4), min_ratio=0)


@pytest.fixture(scope='module')
def residual():
    return small(min_ratio=0).double()


def subsets(full: int) -> st.SearchStrategy:
    """Every channel set of a group that is not empty: the bits of a number."""
    return st.integers(1, 2**full - 1).map(lambda bits: [index for index in range(full) if bits >> index & 1])


def check_contracts(space: WidthSpace, sets, x: torch.Tensor) -> None:
    widths = {label: len(chosen) for label, chosen in sets.items()}
    channel_sets = {label: torch.tensor(chosen) for label, chosen in sets.items()}
    before = {name: buffer.clone() for name, buffer in space.named_buffers()}
    for training in (False, True):
        slim = space.train(training).slim(widths, channel_sets)
        space.activate(widths, channel_sets)
        with torch.no_grad():
            torch.testing.assert_close(space(x), slim(x), rtol=1e-9, atol=1e-9)
    positions = Selection(space.graph, channel_sets).positions
    with torch.no_grad():
        for name, buffer in slim.named_buffers():
            expected = before[name].clone()
            put(expected, positions.get(name, (None,) * buffer.dim()), buffer)
            torch.testing.assert_close(dict(space.named_buffers())[name], expected)
            dict(space.named_buffers())[name].copy_(before[name])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        slim.eval()(x[:1])
    assert space.macs(widths) == counter.get_total_flops() / 2
    assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_channel_sets_of_a_network_with_every_tie(mixed, data):
    # Groups: 8 channels of the residual sum split by the grouped layer into 2 x 4, the gate's 3, 2 x 6, and 5.
    sets = {label: data.draw(subsets(full), label) for label, full in mixed.full_widths.items()}
    x = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check_contracts(mixed, sets, x)


def test_the_groups_of_that_network(mixed):
    assert mixed.full_widths == {'first': 4, 'down': 3, 'grouped': 6, 'last': 5}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_channel_sets_of_a_residual_network(residual, data):
    sets = {label: data.draw(subsets(full), label) for label, full in residual.full_widths.items()}
    check_contracts(residual, sets, X.double())


# --- as a model space of NNI ----------------------------------------------------------------------


def test_simplify_gives_a_categorical_a_group(space):
    simple = space.simplify()
    assert list(simple) == list(space.labels)
    for label, mutable in simple.items():
        assert isinstance(mutable, Categorical)
        assert tuple(mutable.values) == space.choices[label]


def test_default_is_the_full_network(space):
    memo = {}
    model = space.eval().default(memo)
    assert memo == space.full_widths
    torch.testing.assert_close(model(X), space(X))


def test_random_follows_its_random_state(space):
    memos = []
    for seed in (0, 0, 1):
        memo = {}
        model = space.eval().random(memo, random_state=np.random.RandomState(seed))
        assert set(memo) == set(space.labels)
        assert sum(p.numel() for p in model.parameters()) == space.params(memo)
        memos.append(memo)
    assert memos[0] == memos[1] != memos[2]


def test_grid_covers_every_width(chain):
    space = chain(bins=EqualBins(2))
    samples = set()
    for granularity in (1, 2, 3):
        memo = {}
        for model in space.grid(memo, granularity=granularity):
            assert (model.a.out_channels, model.b.out_channels) == (memo['a'], memo['b'])
            samples.add((memo['a'], memo['b']))
    assert samples == {(2, 3), (2, 6), (4, 3), (4, 6)}


def test_freeze_is_slim(space):
    widths = space.smallest_widths
    frozen = space.eval().freeze(widths)
    assert type(frozen) is SmallResNet
    assert torch.equal(frozen(X), space.slim(widths)(X))
    sets = {label: torch.arange(1, width + 1) for label, width in widths.items()}
    assert torch.equal(space.freeze(widths, sets)(X), space.slim(widths, sets)(X))


def test_samples_are_checked(space):
    assert space.check_contains(space.full_widths) is None
    assert space.contains(space.smallest_widths)
    label = space.labels[0]
    error = space.check_contains({**space.full_widths, label: 3})
    assert isinstance(error, SampleValidationError)
    assert '3' in str(error)
    less = {other: width for other, width in space.full_widths.items() if other != label}
    assert label in str(space.check_contains(less))


def size_of(model) -> None:
    """A trial that needs no training: prefers 1000 parameters."""
    assert not isinstance(model, ModelSpace)
    assert model.eval()(X).shape == (3, 10)
    score = -abs(sum(parameter.numel() for parameter in model.parameters()) - 1000)
    nni.report_final_result(score)


@pytest.fixture
def experiment(tmp_path):
    """``experiment(space, strategy, evaluator, format, trials)``, finished; nothing of it is left at the exit."""
    started = []

    def run(space, strategy, *, evaluator=None, form='raw', trials=4) -> NasExperiment:
        config = NasExperimentConfig('sequential', form, 'local')
        config.max_trial_number = trials
        config.experiment_working_directory = tmp_path
        started.append(NasExperiment(space, evaluator or FunctionalEvaluator(size_of), strategy, config))
        started[-1].run()
        return started[-1]

    yield run
    for each in started:
        each.stop()


STRATEGIES = {
    'Random': lambda: Random(seed=0),
    'GridSearch': lambda: GridSearch(seed=0),
    'RegularizedEvolution': lambda: RegularizedEvolution(population_size=3, sample_size=2, mutation_prob=0.5, seed=0),
    'TPE': TPE,
}


@pytest.mark.parametrize('name', STRATEGIES)
def test_strategies_of_nni_search_the_space(space, experiment, name):
    trials = 2 if name == 'TPE' else 5  # TPE waits a second a trial
    form = 'simplified' if name == 'GridSearch' else 'raw'  # raw: NNI keeps one sample for the whole grid, not a copy
    run = experiment(space, STRATEGIES[name](), form=form, trials=trials)
    best = run.export_top_models(trials, formatter='dict')
    assert len(best) == trials
    assert all(space.contains(widths) for widths in best)
    assert len({tuple(widths.values()) for widths in best}) == trials
    scores = [-abs(space.params(widths) - 1000) for widths in best]
    assert scores == sorted(scores, reverse=True)
    (model,) = run.export_top_models(1, formatter='instance')
    assert sum(p.numel() for p in model.parameters()) == space.params(best[0])


def test_the_simplified_format_rebuilds_models_from_the_factory(space, experiment):
    run = experiment(space, Random(seed=0), form='simplified', trials=2)
    best = run.export_top_models(2, formatter='dict')
    assert len(best) == 2
    (model,) = run.export_top_models(1, formatter='instance')
    assert type(model) is SmallResNet
    assert sum(p.numel() for p in model.parameters()) == space.params(best[0])


def test_lightning_evaluators_of_nni_train_the_models(space, experiment, tmp_path):
    evaluator = Classification(
        train_dataloaders=DataLoader(digits('train'), batch_size=64),
        val_dataloaders=DataLoader(digits('test'), batch_size=200),
        num_classes=10,
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=1,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    before = copy.deepcopy(space.state_dict())
    # One trial: NNI hands its Lightning trainer on to the next one, which Lightning 2 takes for finished.
    run = experiment(space, Random(seed=1), evaluator=evaluator, trials=1)
    (best,) = run.export_top_models(2)
    assert 0 <= best.metric <= 1
    assert space.contains(best.sample)
    assert all(torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())  # trials own theirs


# --- bad input ------------------------------------------------------------------------------------


class Standardized(nn.Conv2d):
    """Weights standardized over their inputs, of which there must be two."""

    def forward(self, x):
        rows = self.weight.reshape(1, len(self.weight), -1)
        weight = nn.functional.batch_norm(rows, None, None, training=True).view_as(self.weight)
        return nn.functional.conv2d(x, weight, self.bias)


def test_widths_at_which_the_model_does_not_run():
    model = nn.Sequential(nn.Conv2d(3, 40, 1), nn.ReLU(), Standardized(40, 30, 1), nn.ReLU(), nn.Conv2d(30, 2, 1))
    space = WidthSpace(model, example_input=(1, 3, 4, 4), min_ratio=0)
    assert space.smallest_widths == {'0': 2, '2': 1}
    assert space.groups[0].least_width == 2
    narrowest = space.uniform_within(space.macs({'0': 2, '2': 1}))
    assert narrowest == {'0': 2, '2': 1}
    space.slim(narrowest)(torch.zeros(1, 3, 4, 4))
    for method in (space.activate, space.slim, space.macs):
        with pytest.raises(ValueError, match=r"widths\['0'\]=1 must be a whole number from 2 to 40; the model"):
            method({'0': 1, '2': 1})
    with pytest.raises(
        ValueError, match=r"widths\[0\] has 1 for '0'; it must be a whole number from 2 to 40; the model"
    ):
        space.macs(np.array([[1, 1]]))


@pytest.mark.parametrize('method', ['activate', 'slim', 'freeze', 'macs', 'params', 'to_array'])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'b': None}, "lacks the label 'b'. Give one width for each of the 2 labels in space.labels"),
        ({'x': 3}, "has the unknown label 'x'. Give one width"),
        ({'a': 0}, r"widths\['a'\]=0 must be a whole number from 1 to 4"),
        ({'a': 5}, r"widths\['a'\]=5 must be a whole number from 1 to 4"),
        ({'a': -1}, r"widths\['a'\]=-1"),
        ({'a': 2.5}, r"widths\['a'\]=2.5 must be a whole number"),
        ({'a': True}, r"widths\['a'\]=True must be a whole number"),
        ({'a': '2'}, r"widths\['a'\]='2' must be a whole number"),
        ({'a': float('nan')}, r"widths\['a'\]=nan must be a whole number"),
    ],
)
def test_wrong_widths_are_refused(chain, method, change, message):
    space = chain(verify=False)
    widths = {label: width for label, width in {'a': 2, 'b': 3, **change}.items() if width is not None}
    if method == 'freeze' and 'x' in change:  # in NNI's samples choices of the evaluator stand beside the widths
        assert space.freeze(widths).b.in_channels == 2
        return
    with pytest.raises(ValueError, match=message):
        getattr(space, method)(widths)


@pytest.mark.parametrize('method', ['activate', 'slim', 'freeze'])
@pytest.mark.parametrize(
    ('sets', 'message'),
    [
        ({'x': [0, 1]}, "channel_sets has the unknown label 'x'. Labels are in space.labels"),
        ({'a': [0]}, r"channel_sets\['a'\] must be 2 ascending channel indices below 4, got \[0\]"),
        ({'a': [0, 4]}, r'got \[0, 4\]'),
        ({'a': [-1, 2]}, r'got \[-1, 2\]'),
        ({'a': [2, 1]}, r'got \[2, 1\]'),
        ({'a': [1, 1]}, r'got \[1, 1\]'),
        ({'a': [[0], [1]]}, r'got \[\[0\], \[1\]\]'),
        ({'a': []}, r'got \[\]'),
        ({'a': [0.5, 1.5]}, r'must be 2 ascending channel indices below 4'),
    ],
)
def test_wrong_channel_sets_are_refused_and_change_nothing(chain, method, sets, message):
    space = chain(verify=False).eval()
    space.activate({'a': 3, 'b': 3})
    before = space(torch.ones(1, 3, 2, 2))
    with pytest.raises(ValueError, match=message):
        getattr(space, method)({'a': 2, 'b': 3}, sets)
    assert torch.equal(space(torch.ones(1, 3, 2, 2)), before)


def test_errors_of_the_analysis_reach_the_user():
    with pytest.raises(ValueError, match='no channel group that can change'):
        WidthSpace(nn.Sequential(nn.Conv2d(3, 4, 1)), example_input=(1, 3, 2, 2))
    with pytest.raises(TraceError, match='is rejected by the model SmallResNet'):
        WidthSpace(SmallResNet, example_input=(1, 3, 8, 8))
    with pytest.raises(TypeError, match='example_input=.* cannot be used'):
        WidthSpace(SmallResNet, example_input='picture')
    with pytest.raises(ValueError, match='min_ratio=2 must be a number from 0 to 1'):
        small(min_ratio=2)
    with pytest.raises(ValueError, match='divisor=0 must be a whole number'):
        small(divisor=0)
    with pytest.raises(ValueError, match=r'include=\[\]'):
        small(include=[])


# --- networks of given cost -----------------------------------------------------------------------


@pytest.mark.parametrize('share', [0.1, 0.37, 0.5, 0.99, 1.0, 2.0])
def test_uniform_widths_within_a_budget_use_it_up(space, share):
    budget = int(share * space.macs(space.full_widths))
    widths = space.uniform_within(budget)
    assert space.macs(widths) <= budget
    for label, width in widths.items():  # not one channel more fits in any group
        if width < space.full_widths[label]:
            assert space.macs({**widths, label: width + 1}) > budget or share < 1
    ratios = [width / space.full_widths[label] for label, width in widths.items()]
    assert max(ratios) - min(ratios) < 0.2


def test_a_budget_below_one_channel_a_group_is_refused(space):
    least = space.macs(dict.fromkeys(space.labels, 1))
    assert space.uniform_within(least) == dict.fromkeys(space.labels, 1)
    with pytest.raises(ValueError, match=f'macs={least - 1} is below the {least:,} MACs of the narrowest'):
        space.uniform_within(least - 1)


class Twice(nn.Module):
    """Its layers have a second name, by which they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.features = nn.Sequential(self.conv1, nn.BatchNorm2d(8), nn.ReLU(), self.conv2, self.conv2)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def test_layers_with_two_names(draw):
    space = WidthSpace(Twice, example_input=(1, 3, 6, 6))
    assert space.labels == ('conv1',)  # conv2 reads what it writes
    x = torch.randn(2, 3, 6, 6)
    widths, sets = draw(space, 0)
    for mode in (True, False):
        space.train(mode)
        slim = space.slim(widths, sets).train(mode)
        space.activate(widths, sets)
        torch.testing.assert_close(space(x), slim(x))
    assert slim.conv2 is slim.features[3]
    assert space.full_model.conv2.weight.shape == (8, 8, 3, 3)


def test_batch_normalization_that_the_user_holds_in_eval_mode_stays_there():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
    )
    model.train()[1].eval()
    space = WidthSpace(model, example_input=(2, 3, 4, 4))
    slim = space.eval().train().slim({'0': 2, '2': 3})
    assert [(each[1].training, each[3].training) for each in (space.full_model, slim)] == [(False, True)] * 2
    assert not WidthSpace(model.eval(), example_input=(2, 3, 4, 4)).held_norms
