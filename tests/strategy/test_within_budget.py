from __future__ import annotations

import copy

import nni
import pytest
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.experiment import NasExperimentConfig
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace
from nni.nas.strategy import TPE, GridSearch, Random, RandomOneShot, RegularizedEvolution
from nni.nas.strategy.middleware import Chain, Deduplication, Filter, MultipleEvaluation
from nni.nas.utils.serializer import TorchSerializer
from torch import nn

from nni_cafenet import EqualBins, WidthMutator, WithinBudget
from nni_cafenet.space.web_ui_summary import mutation_summary
from nni_cafenet.testing import SmallResNet


class Chained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.c(self.b(self.a(x)))


def score(model):
    """Report the parameters: which network was trained can be told from its metric."""
    nni.report_intermediate_result(-1.0)
    nni.report_final_result(float(sum(parameter.numel() for parameter in model.parameters())))


@pytest.fixture(scope='module')
def small():
    """Two groups of 8 channels: 6 a + a b + 2 b MACs."""
    return WidthMutator(bins=EqualBins(8), verify=False).mutate(Chained, example_input=(1, 6))


@pytest.fixture(scope='module')
def resnet():
    return WidthMutator(verify=False).mutate(SmallResNet, example_input=(1, 1, 8, 8))


@pytest.fixture
def run(run_experiment):
    """``run(space, strategy)``: an experiment that has ended."""

    def run(space, strategy, trials=5, form='raw', evaluator=None):
        config = NasExperimentConfig('sequential', form, 'local')
        config.execution_engine.max_model_count = trials
        return run_experiment(space, evaluator or FunctionalEvaluator(score), strategy, config)

    return run


def samples_of(experiment):
    return [model.sample for model in experiment.strategy.list_models(sort=False)]


def drive(middleware, space, samples, state=None):
    """Submit samples by hand, without training; return what would be trained, and the middleware's state."""
    engine = SequentialExecutionEngine()
    engine.submit_models = lambda *models: None
    simplified = SimplifiedModelSpace.from_model(space, None)
    middleware.set_engine(engine)
    middleware._initialize_model_space(simplified)
    if state is not None:
        middleware.load_state_dict(state)
    models = [simplified.freeze(sample) for sample in samples]
    for model in models:
        middleware.submit_models(model)
    return [model.sample for model in models]


# --- what is trained --------------------------------------------------------------------------------


def evolution():
    return RegularizedEvolution(population_size=4, sample_size=2, mutation_prob=0.5, seed=0)


@pytest.mark.parametrize(
    ('strategy', 'form', 'trials'),
    [
        (lambda: Random(seed=0), 'raw', 12),
        (lambda: GridSearch(seed=0), 'simplified', 3),  # raw: NNI keeps one sample for the whole grid, not a copy
        (evolution, 'raw', 12),
        (TPE, 'raw', 2),  # waits a second a trial
    ],
    ids=['Random', 'GridSearch', 'RegularizedEvolution', 'TPE'],
)
def test_at_a_tenth_of_the_macs_every_strategy_trains_as_many_networks_as_it_may(run, resnet, strategy, form, trials):
    experiment = run(resnet, Chain(strategy(), WithinBudget('10%')), trials=trials, form=form)
    trained = list(experiment.strategy.list_models(sort=False))
    assert len(trained) == trials
    limit = resnet.macs(resnet.full_widths) // 10
    for model in trained:
        assert resnet.macs(model.sample) <= limit
        assert resnet.contains(model.sample)
        assert model.metric == resnet.params(model.sample)
        assert model.metrics.intermediates == [-1.0]
        if form == 'simplified':
            assert model.mutation_summary == mutation_summary(resnet, model.sample)
    assert len({tuple(model.sample.values()) for model in trained}) == trials
    best = experiment.export_top_models(2)
    assert [model.metric for model in best] == sorted((model.metric for model in trained), reverse=True)[:2]
    (slim,) = experiment.export_top_models(1, formatter='instance')
    assert sum(parameter.numel() for parameter in slim.parameters()) == best[0].metric


def test_released_nni_rejects_most_networks_and_gives_up(run, resnet):
    limit = resnet.macs(resnet.full_widths) // 20
    rejecting = Filter(lambda model: resnet.macs(model.sample) <= limit, patience=100)
    experiment = run(resnet, Chain(Random(seed=0), rejecting), trials=12, form='raw')
    assert rejecting.state_dict() == {'filter_count_patience': 100, 'filter_count_total': 256}
    assert len(samples_of(experiment)) == 2 + 256  # two of twelve were trained


@pytest.mark.parametrize('form', ['simplified', 'raw'])
def test_both_formats(run, small, form):
    experiment = run(small, Chain(Random(seed=0), WithinBudget({'params': '40%'})), form=form, trials=3)
    trained = list(experiment.strategy.list_models(sort=False))
    assert len(trained) == 3
    for model in trained:
        assert model.metric == small.params(model.sample) <= int(0.4 * small.params(small.full_widths))


def test_networks_within_the_budget_stay_and_the_others_move_no_further_than_needed(small):
    # 6 a + a b + 2 b: 128 MACs at (8, 8); with a = 8 the half, 64, is met by b = 1: 58 MACs; b = 2 would cost 68
    samples = [{'a': 4, 'b': 2}, {'a': 8, 'b': 8}, {'a': 1, 'b': 8}]
    moved = drive(WithinBudget('50%'), small, samples)
    assert [moved[0], moved[2]] == [samples[0], samples[2]]
    assert small.macs(moved[1]) <= 64
    one_more = [{**moved[1], label: moved[1][label] + 1} for label in 'ab' if moved[1][label] < 8]
    assert any(small.macs(widths) > 64 for widths in one_more)


def test_the_same_widths_move_to_the_same_place_and_others_elsewhere(small):
    samples = [{'a': 8, 'b': 8}, {'a': 8, 'b': 7}, {'a': 8, 'b': 8}, {'a': 7, 'b': 8}]
    moved = drive(WithinBudget('50%'), small, samples)
    assert moved[0] == moved[2]
    assert len({tuple(widths.values()) for widths in moved}) == 3


def test_a_moved_network_is_none_that_was_trained(small):
    within = [{'a': a, 'b': b} for a in range(1, 9) for b in range(1, 9) if 6 * a + a * b + 2 * b <= 64]
    left = within.pop(20)
    (last,) = drive(WithinBudget('50%'), small, [*within, {'a': 8, 'b': 8}])[len(within) :]
    assert last == left


def test_once_all_is_trained_there_is_no_more_budget(run, small):
    # 6 a + a b + 2 b <= 20: (1, 1) to (1, 4) and (2, 1) and (2, 2)
    middleware = WithinBudget(20)
    experiment = run(small, Chain(Random(seed=0), middleware), trials=60)
    trained = {tuple(sample.values()) for sample in samples_of(experiment)}
    assert trained == {(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2)}
    assert len(samples_of(experiment)) == 7  # it took the last one to see it
    assert not middleware.budget_available()


def test_choices_of_the_evaluator_stay(run, small):
    evaluator = FunctionalEvaluator(lambda model, lr: nni.report_final_result(lr), lr=nni.choice('lr', [0.1, 0.2]))
    chain = Chain(Random(seed=0), WithinBudget('20%'))
    experiment = run(small, chain, trials=6, evaluator=evaluator, form='simplified')
    trained = list(experiment.strategy.list_models(sort=False))
    assert {model.sample['lr'] for model in trained} == {0.1, 0.2}
    for model in trained:
        assert model.metric == model.sample['lr'] == model.mutation_summary['lr']
        assert small.macs({label: model.sample[label] for label in 'ab'}) <= 25


def test_evolution_goes_on_from_what_was_trained(run, resnet):
    strategy = evolution()
    run(resnet, Chain(strategy, WithinBudget('10%')), trials=10, form='raw')
    assert len(strategy._population) == 4
    limit = resnet.macs(resnet.full_widths) // 10
    assert all(resnet.macs(individual.x) <= limit for individual in strategy._population)


def test_other_middlewares_see_the_moved_networks(run, small):
    chain = Chain(Random(seed=0), WithinBudget('20%'), Deduplication('invalid'), MultipleEvaluation(2))
    experiment = run(small, chain, trials=6)
    submitted = samples_of(experiment)
    assert len(submitted) == 3
    assert all(small.macs(sample) <= 25 for sample in submitted)
    assert [model.metric for model in chain.list_models(sort=False)] == [small.params(sample) for sample in submitted]


# --- seeds and resuming -----------------------------------------------------------------------------


OVER = [{'a': 8, 'b': b} for b in range(2, 9)]


def test_seeds(small):
    first = drive(WithinBudget('50%', seed=3), small, OVER)
    assert drive(WithinBudget('50%', seed=3), small, OVER) == first
    assert drive(WithinBudget('50%', seed=4), small, OVER) != first


def test_resumed_it_goes_on_as_if_never_stopped(small, tmp_path):
    whole = drive(WithinBudget('50%'), small, [*OVER, *OVER])
    before = WithinBudget('50%')
    begun = drive(before, small, OVER[:3])
    TorchSerializer().save(before.state_dict(), tmp_path / 'state.ckpt')
    after = WithinBudget('50%', seed=9)  # the state counts
    ended = drive(after, small, [*OVER[3:], *OVER], state=TorchSerializer().load(tmp_path / 'state.ckpt'))
    assert begun + ended == whole
    assert after.state_dict()['counts'] == {'submitted': 14, 'moved': 14}


def test_another_budget_is_refused(small):
    before = WithinBudget('50%')
    drive(before, small, OVER)
    with pytest.raises(ValueError, match=r"budget='40%' allows \{'macs': 51\}, but .* allowed \{'macs': 64\}"):
        drive(WithinBudget('40%'), small, OVER, state=before.state_dict())


# --- bad input --------------------------------------------------------------------------------------


class OtherSpace(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.Linear(2, 2), nn.Identity()], label='layer')


@pytest.mark.parametrize(
    ('budget', 'message'),
    [
        ('5', "budget='5' allows 5 MACs, but the smallest reachable network has 9 MACs"),
        ('half', "budget='half'"),
        ({'flops': 3}, "unknown key 'flops'"),
        ('200%', 'no search is needed'),
        (
            {'latency': '5ms'},
            r"LatencyTable.measure\(space\).save\('lat.json'\), then .*'table': 'lat.json'",
        ),
    ],
)
def test_bad_budgets(run, small, budget, message):
    with pytest.raises(ValueError, match=message):
        run(small, Chain(Random(), WithinBudget(budget)))


def test_other_bad_input(run, small):
    with pytest.raises(ValueError, match='seed=-1 must be a whole number, from 0 to'):
        WithinBudget('50%', seed=-1)
    with pytest.raises(TypeError, match='OtherSpace is a model space with choices that are no widths'):
        run(OtherSpace(), Chain(Random(), WithinBudget('50%')))
    with pytest.raises(RuntimeError, match='WithinBudget works in a chain'):
        WithinBudget('50%').submit_models(RawFormatModelSpace(small, None).freeze({'a': 8, 'b': 8}))


def test_one_shot_strategies_are_refused(small):
    middleware = WithinBudget('50%')
    drive(middleware, copy.deepcopy(small), [])
    supernet = RawFormatModelSpace(small, None)  # what RandomOneShot submits
    with pytest.raises(TypeError, match='one supernet; CafeNet'):
        middleware.submit_models(supernet)
    assert 'WithinBudget' in repr(Chain(RandomOneShot(), middleware))
