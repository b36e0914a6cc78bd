"""Searches of NNI's own model spaces, whose choices are numbers of channels."""

from __future__ import annotations

import time

import nni
import pytest
import torch
from nni.mutable import MutableExpression
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperimentConfig
from nni.nas.nn.pytorch import (
    LayerChoice,
    ModelSpace,
    MutableBatchNorm2d,
    MutableConv2d,
    MutableEmbedding,
    MutableLinear,
)
from nni.nas.strategy import Random, RandomOneShot, RegularizedEvolution
from nni.nas.strategy.middleware import Chain
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from nni_cafenet import (
    Bilateral,
    CafeNet,
    Evolution,
    LatencyTable,
    NearBudget,
    RandomSearch,
    RunResult,
    Sandwich,
    ShortTrainings,
    WidthMutator,
    WithinBudget,
)
from nni_cafenet.errors import RunInterrupted
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.stages.context import StageContext
from nni_cafenet.stages.nni_space import width_space_of
from nni_cafenet.testing import digits

IMAGES, LABELS = digits('train').tensors
TRAIN = TensorDataset(IMAGES[:200], LABELS[:200])


class Net(ModelSpace):
    """A shared label, an expression of a label, and one of two."""

    def __init__(self):
        super().__init__()
        a, b, ratio = nni.choice('a', [16, 8, 12]), nni.choice('b', [4, 8, 16]), nni.choice('ratio', [1.5, 2.0])
        hidden = MutableExpression.to_int(a * ratio)
        self.c1, self.b1 = MutableConv2d(1, a, 3, padding=1), MutableBatchNorm2d(a)
        self.c2, self.b2 = MutableConv2d(a, b * 2, 3, stride=2, padding=1), MutableBatchNorm2d(b * 2)
        self.c3 = MutableConv2d(b * 2, a, 1)
        self.up, self.fc = MutableLinear(a, hidden), MutableLinear(hidden, 10)

    def forward(self, x):
        x = self.b2(self.c2(self.b1(self.c1(x)).relu())).relu()
        return self.fc(self.up(self.c3(x).relu().mean((2, 3))).relu())


CHOICES = {'a': {8, 12, 16}, 'b': {4, 8, 16}, 'ratio': {1.5, 2.0}}


class Mixed(ModelSpace):
    def __init__(self):
        super().__init__()
        c = nni.choice('c', [8, 16])
        self.conv = MutableConv2d(1, c, nni.choice('kernel', [1, 3]))
        self.act = LayerChoice([nn.ReLU(), nn.Identity()], label='act')
        self.fc = MutableLinear(c, 10)

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


@pytest.fixture
def evaluator(tmp_path):
    def make(**more):
        given = {'train_dataloaders': DataLoader(TRAIN, batch_size=50, shuffle=True)}
        given['val_dataloaders'] = DataLoader(TRAIN, batch_size=50)
        quiet = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)
        return Classification(
            num_classes=10,
            max_epochs=1,
            default_root_dir=str(tmp_path / 'pl'),
            accelerator='cpu',
            **{**given, **quiet, **more},
        )

    return make


@pytest.fixture
def run(run_experiment, evaluator):
    """``run(strategy)``: an experiment that has been run."""

    def run(strategy, space=None, by=None, config=None):
        torch.manual_seed(0)
        return run_experiment(space or Net(), by or evaluator(), strategy, config)

    return run


def small(**options):
    return CafeNet(**{'budget': '50%', 'search': RandomSearch(6), 'statistics_batches': 2, 'holdout': 0.2, **options})


def are_values(widths):
    return list(widths) == list(CHOICES) and all(widths[label] in values for label, values in CHOICES.items())


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'search': Evolution(population=4, generations=2), 'sharing': Bilateral()},
        {'width_sampling': Sandwich(1)},
        {'width_sampling': NearBudget(), 'budget': ['60%', {'params': '50%'}]},
    ],
    ids=str,
)
def test_values_and_labels_are_those_of_the_space(run, options):
    strategy, own = small(**options), Net()
    experiment = run(strategy, own)
    assert len(strategy.history) >= 6
    for record in strategy.history:
        assert are_values(record.widths)
        assert any(each.allows(strategy.result.space.to_array(record.widths))[0] for each in strategy.budgets)
    (sample,) = experiment.export_top_models(formatter='dict')
    (slim,) = experiment.export_top_models(formatter='instance')
    frozen = own.freeze(sample)
    frozen.load_state_dict(slim.state_dict())
    assert torch.equal(frozen.eval()(IMAGES[:5]), slim.eval()(IMAGES[:5]))


def test_a_run_can_be_read_and_repeated(run, tmp_path):
    first, second = small(directory=tmp_path / 'a'), small(directory=tmp_path / 'b')
    run(first), run(second)
    assert [each.to_json() for each in first.history] == [each.to_json() for each in second.history]
    result = RunResult.load(tmp_path / 'a', WidthMutator().mutate(Net, example_input=(2, 1, 8, 8)))
    assert result.best_searched() == first.result.best_searched()
    assert result.report() == first.report()
    with pytest.raises(TypeError, match=r'(?s)space=Net.*WidthMutator\(\).mutate'):
        RunResult.load(tmp_path / 'a', Net())
    rows = (tmp_path / 'a' / 'history.csv').read_text().splitlines()
    assert 'a,b,ratio' in rows[0]
    other = WidthMutator().mutate(Net, sample={'ratio': 2.0}, example_input=(2, 1, 8, 8))
    with pytest.raises(Exception, match='another space|choices|MACs'):
        RunResult.load(tmp_path / 'a', other)


@pytest.mark.parametrize('weights', ['fresh', 'inherited'])
def test_finalists_and_the_uniform_network(run, weights, tmp_path):
    strategy, own = small(finalists=2, finalist_weights=weights, directory=tmp_path / 'run'), Net()
    experiment = run(strategy, own)
    (uniform,) = [each for each in strategy.trained if each.finalist.is_baseline]
    assert are_values(uniform.finalist.scored.widths)
    assert uniform.finalist.scored.macs <= strategy.budgets[0].limits['macs']
    for sample, slim in zip(
        experiment.export_top_models(3, formatter='dict'), experiment.export_top_models(3, formatter='instance')
    ):
        frozen = own.freeze(sample)
        frozen.load_state_dict(slim.state_dict())
        assert torch.equal(frozen.eval()(IMAGES[:5]), slim.eval()(IMAGES[:5]))


def test_short_trainings(run):
    strategy = ShortTrainings('50%', n=4, epochs=(1,), holdout=0.2)
    experiment = run(strategy)
    assert all(are_values(record.widths) for record in strategy.history)
    assert are_values(experiment.export_top_models(formatter='dict')[0])


def test_an_interrupted_run_ends_like_another(run, tmp_path, monkeypatch):
    whole = small(directory=tmp_path / 'whole')
    run(whole)
    score, calls = Scorer.score, []

    def interrupted(self, widths):
        calls.append(widths)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(self, widths)

    monkeypatch.setattr(Scorer, 'score', interrupted)
    with pytest.raises((RunInterrupted, KeyboardInterrupt)):
        run(small(directory=tmp_path / 'cut'))
    monkeypatch.setattr(Scorer, 'score', score)
    again = small(directory=tmp_path / 'cut')
    run(again)
    assert [each.to_json() for each in again.history] == [each.to_json() for each in whole.history]


@pytest.mark.parametrize('limit', [{'max_trial_number': 1}, {'max_experiment_duration': '1s'}], ids=str)
def test_limits_of_the_experiment_interrupt_a_run_that_can_be_continued(run, tmp_path, limit, caplog, monkeypatch):
    score = Scorer.score
    whole = small(finalists=1, directory=tmp_path / 'whole')
    run(whole)
    cut = small(finalists=1, directory=tmp_path / 'cut')
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, 'score', lambda self, widths: time.sleep(0.5) or score(self, widths))
        run(cut, config=NasExperimentConfig('sequential', 'raw', 'local', **limit))
    assert not cut.finished
    assert 'raise the limit' in caplog.text
    again = small(finalists=1, directory=tmp_path / 'cut')
    run(again)
    assert again.finished
    assert [each.to_json() for each in again.history] == [each.to_json() for each in whole.history]
    assert [each.metric for each in again.trained] == [each.metric for each in whole.trained]


def test_a_limit_counts_what_a_run_trains_itself(run, tmp_path):
    left = []
    for _ in range(4):  # the supernet, then two of the best and the uniform network
        strategy = small(finalists=2, directory=tmp_path / 'run')
        run(strategy, config=NasExperimentConfig('sequential', 'raw', 'local', max_trial_number=1))
        left.append(3 - len(list((tmp_path / 'run').glob('finalists/*/result.json'))))
    assert left == [3, 2, 1, 0]
    assert strategy.finished


def test_a_limit_on_latency(run, tmp_path):
    space = WidthMutator().mutate(Net, example_input=(1, 1, 8, 8))
    table = LatencyTable.measure(space, rounds=1, networks=1, held_out=2, points=2, progress=False)
    assert table.latency(space.group_widths(space.smallest_widths)) <= table.latency(
        space.group_widths(space.full_widths)
    )
    table.save(tmp_path / 'lat.json')
    strategy = small(budget={'latency': '100%', 'table': str(tmp_path / 'lat.json'), 'macs': '60%'})
    run(strategy, space)
    limits = strategy.budgets[0].limits
    for record in strategy.history:
        assert are_values(record.widths)
        assert table.latency(space.group_widths(record.widths)) <= limits['latency']


def test_other_choices_are_refused_before_any_training(run, monkeypatch):
    monkeypatch.setattr(Classification, 'fit', lambda *args: pytest.fail('trained'))
    with pytest.raises(
        TypeError, match=r"no widths: 'act': .*sample={'act': 0}, example_input.*Or run an NNI strategy"
    ):
        run(small(), Mixed())
    half = WidthMutator().mutate(Mixed(), sample={'act': 0, 'kernel': 3}, example_input=(2, 1, 8, 8))
    assert half.choices == {'c': (8, 16)}


def test_numbers_that_are_no_widths_are_refused_before_any_training(run):
    class Kernels(Mixed):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

    with pytest.raises(TypeError, match=r"no widths: 'kernel': \[1, 3\] \(1 changes conv.weight beyond its channels\)"):
        run(small(), Kernels())


def test_a_network_that_nni_found_is_no_space(run):
    with pytest.raises(TypeError, match='WidthMutator'):
        run(small(), Net().freeze({'a': 8, 'b': 4, 'ratio': 2.0}))


class Words(ModelSpace):
    def __init__(self):
        super().__init__()
        d = nni.choice('d', [8, 16])
        self.embed, self.fc = MutableEmbedding(11, d), MutableLinear(d, 3)

    def forward(self, ids, mask=None):
        return self.fc((self.embed(ids) * mask[..., None]).mean(1))


class Speaks(LightningModule):
    def training_step(self, batch, batch_idx):
        ids, y = batch
        return cross_entropy(self.model(ids, mask=(ids > 0).float()), y)

    def validation_step(self, batch, batch_idx):
        self.log('val_loss', self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_the_example_is_what_the_evaluator_gives_the_model(run, tmp_path):
    data = TensorDataset(torch.randint(0, 11, (40, 6)), torch.randint(0, 3, (40,)))
    loaders = {'train_dataloaders': DataLoader(data, batch_size=10), 'val_dataloaders': DataLoader(data, batch_size=10)}
    options = {'default_root_dir': str(tmp_path), 'enable_checkpointing': False, 'enable_progress_bar': False}
    by = Lightning(Speaks(), Trainer(max_epochs=1, logger=False, accelerator='cpu', **options), **loaders)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    space = width_space_of(Words(), by, travels=True)
    assert space.example_input.args[0].shape == (2, 6)
    assert list(space.example_input.kwargs) == ['mask']
    assert not torch.equal(torch.get_rng_state(), before)  # new weights were drawn
    strategy = small(budget='90%')
    assert run(strategy, Words(), by).export_top_models(formatter='dict') == [{'d': 8}]


def test_an_evaluator_that_shows_no_input(run):
    with pytest.raises(TypeError, match=r'shows? .*input.*WidthMutator\(\).mutate\(space, example_input=...\)'):
        run(small(), by=FunctionalEvaluator(print))


def test_another_process_makes_the_same_space(evaluator):
    space = width_space_of(Net(), evaluator(), travels=True)
    strategy = small()
    few = DataLoader(TensorDataset(IMAGES[:20].clone(), LABELS[:20].clone()), batch_size=10)
    by = evaluator(train_dataloaders=few, val_dataloaders=few)
    loaded = StageContext.load(StageContext(space, by, strategy.options, strategy.finalist_options).dump())
    assert loaded.space.choices == space.choices
    assert loaded.space.groups == space.groups
    assert loaded.space.example_input.describe() == space.example_input.describe()


# --- NNI's own strategies ---------------------------------------------------------------------------


def parameters(model):
    nni.report_final_result(float(sum(parameter.numel() for parameter in model.parameters())))


@pytest.mark.parametrize(
    'strategy', [Random(), RegularizedEvolution(population_size=3, sample_size=2)], ids=['random', 'evolution']
)
def test_networks_of_other_strategies_stay_within_a_budget(run, strategy):
    config = NasExperimentConfig('sequential', 'raw', 'local')
    config.execution_engine.max_model_count = 6
    space = WidthMutator().mutate(Net, example_input=(2, 1, 8, 8))
    experiment = run(Chain(strategy, WithinBudget('40%')), space, FunctionalEvaluator(parameters), config)
    models = list(experiment.strategy.list_models(sort=False))
    assert len(models) == 6
    assert all(are_values(model.sample) for model in models)
    assert all(space.macs(model.sample) <= space.macs(space.full_widths) * 2 // 5 for model in models)
    assert [model.metric for model in models] == [space.params(model.sample) for model in models]


@pytest.mark.parametrize('form', ['raw', 'simplified'])
def test_networks_of_nni_spaces_stay_within_a_budget(run, form):
    config = NasExperimentConfig('sequential', form, 'local')
    config.execution_engine.max_model_count = 1  # NNI trains with an evaluator once
    experiment = run(Chain(Random(), WithinBudget('40%')), config=config)
    space = WidthMutator().mutate(Net, example_input=(2, 1, 8, 8))
    (model,) = experiment.strategy.list_models(sort=False)
    widths = {label: model.sample[label] for label in CHOICES}
    assert are_values(widths)
    assert space.macs(widths) <= space.macs(space.full_widths) * 2 // 5


def test_choices_of_the_evaluator(run, evaluator):
    choosing = evaluator(learning_rate=nni.choice('lr', [0.1, 0.01]))
    with pytest.raises(ValueError, match="free choices .'lr'."):
        run(small(), by=choosing)
    config = NasExperimentConfig('sequential', 'raw', 'local')
    config.execution_engine.max_model_count = 1
    experiment = run(Chain(Random(), WithinBudget('40%')), by=choosing, config=config)
    (model,) = experiment.strategy.list_models(sort=False)
    assert set(model.sample) == {*CHOICES, 'lr'}


class Uncopied(Speaks):
    def __deepcopy__(self, memo):
        raise RuntimeError('holds a socket')


def test_an_evaluator_that_cannot_be_copied(run):
    data = DataLoader(TensorDataset(torch.zeros(4, 6).long(), torch.zeros(4).long()), batch_size=2)
    trainer = Trainer(max_epochs=1, logger=False, accelerator='cpu', enable_checkpointing=False)
    by = Lightning(Uncopied(), trainer, train_dataloaders=data, val_dataloaders=data)
    with pytest.raises(TypeError, match='cannot be copied .holds a socket.*example_input='):
        run(small(), Words(), by)


def test_nni_needs_the_input_where_its_evaluator_does_not_show_it(run):
    config = NasExperimentConfig('sequential', 'raw', 'local')
    with pytest.raises(TypeError, match='FunctionalEvaluator does not show the input of Net'):
        run(Chain(Random(), WithinBudget('40%')), by=FunctionalEvaluator(parameters), config=config)


def test_nni_one_shot_strategy_on_the_width_space(run):
    experiment = run(RandomOneShot(), WidthMutator().mutate(Net, example_input=(2, 1, 8, 8)))
    assert are_values(experiment.export_top_models(formatter='dict')[0])


def test_no_evaluator_is_mutated(evaluator):
    with pytest.raises(TypeError, match='CafeNet mutates no evaluator and has no mutation hooks.*NasExperiment'):
        small().mutate_evaluator(evaluator())
