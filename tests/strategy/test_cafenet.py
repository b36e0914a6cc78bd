from __future__ import annotations

import copy
import csv
import dataclasses
import json
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from nni.experiment.config.training_services import LocalConfig  # noqa: F401 - registers the platform
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperimentConfig
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from nni_cafenet import CafeNet, EqualBins, Evolution, Fixed, LatencyTable, LocallyFree, RandomSearch, WidthMutator
from nni_cafenet.errors import ResumeError
from nni_cafenet.latency.clock import Clock, Timing
from nni_cafenet.latency.recorded_ops import recorded_operators, tensor_sizes
from nni_cafenet.search.filling import is_full
from nni_cafenet.search.uniform import uniform_within
from nni_cafenet.stages.finalists import finalist_names
from nni_cafenet.strategy.searched_model import SearchedModel
from nni_cafenet.testing import digits
from nni_cafenet.utils.json_records import read_record

IMAGES, LABELS = digits('train').tensors
TRAIN = TensorDataset(IMAGES[:200], LABELS[:200])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.conv3, self.fc = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.conv3(x).relu().mean((2, 3)))


class Untouchable(Dataset):
    """Validation data that must not be read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        raise AssertionError('validation data was read')


class User(LightningModule):
    def __init__(self, loader=None) -> None:
        super().__init__()
        self.loader = loader

    def training_step(self, batch, batch_idx):
        x, y = batch
        return cross_entropy(self.model(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log('top1', (self.model(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Manual(User):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


@pytest.fixture(scope='module')
def template():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(8)).mutate(Net(), example_input=(2, 1, 8, 8))


@pytest.fixture
def space(template):
    return copy.deepcopy(template)


@pytest.fixture
def options(tmp_path):
    return {
        'accelerator': 'cpu',
        'max_epochs': 1,
        'logger': False,
        'enable_checkpointing': False,
        'enable_progress_bar': False,
        'enable_model_summary': False,
        'default_root_dir': str(tmp_path / 'lightning'),
    }


def loader(**options):
    return DataLoader(TRAIN, **{'batch_size': 32, 'shuffle': True, **options})


@pytest.fixture
def classification(options):
    def make(**more):
        given = {'train_dataloaders': loader(), 'val_dataloaders': DataLoader(Untouchable(), batch_size=5)}
        return Classification(num_classes=10, learning_rate=0.01, **{**given, **options, **more})

    return make


@pytest.fixture
def run(space, classification, run_experiment):
    """``run(strategy, evaluator)``: an experiment that has been run."""

    def run(strategy, evaluator=None, space=space, config=None):
        torch.manual_seed(0)
        evaluator = classification() if evaluator is None else evaluator
        return run_experiment(copy.deepcopy(space), evaluator, strategy, config)

    return run


def small(**options):
    return CafeNet(**{'budget': '50%', 'search': RandomSearch(12), 'statistics_batches': 2, 'holdout': 0.2, **options})


# --- end to end -------------------------------------------------------------------------------------


def test_end_to_end(run, space, tmp_path):
    directory = tmp_path / 'run'
    search = Evolution(population=6, generations=3)
    strategy = small(search=search, directory=directory)
    experiment = run(strategy)
    history = list(strategy.history)
    limit = space.macs(space.full_widths) // 2
    assert 18 <= len(history) <= 19  # one more may fill the budget
    assert len({tuple(record.widths.items()) for record in history}) == len(history)
    for record in history:
        assert record.macs == space.macs(record.widths) <= limit
        assert record.params == space.params(record.widths)
        assert all(width in space.choices[label] for label, width in record.widths.items())
        assert {label: len(chosen) for label, chosen in record.channel_sets.items()} == record.widths

    assert history[0].widths in [record.widths for record in history if 0.9 * limit < record.macs]  # the uniform one
    best = sorted(history, key=lambda record: (record.macs < 0.98 * limit, record.score))
    assert best[0].macs >= 0.98 * limit
    assert experiment.export_top_models(5, formatter='dict') == [record.widths for record in best[:5]]
    models = experiment.export_top_models(2)
    assert all(isinstance(model, SearchedModel) and isinstance(model, RawFormatModelSpace) for model in models)
    assert [model.metric for model in models] == [record.score for record in best[:2]]
    assert [model.sample for model in models] == [record.widths for record in best[:2]]
    assert len(list(strategy.list_models(limit=None))) == len(history)
    unsorted = [model.sample for model in strategy.list_models(sort=False, limit=3)]
    assert unsorted == [record.widths for record in history[:3]]

    (slim,) = experiment.export_top_models(formatter='instance')
    assert type(slim) is Net
    assert sum(p.numel() for p in slim.parameters()) == best[0].params
    assert slim.conv1.out_channels == best[0].widths['conv1']
    slim.eval()
    heldout = list(strategy._context.supernet.data.heldout)
    with torch.no_grad():
        losses = [(float(cross_entropy(slim(x) / best[0].temperature, y)), len(y)) for x, y in heldout]
    loss = sum(each * count for each, count in losses) / sum(count for _, count in losses)
    assert loss == pytest.approx(best[0].score, abs=1e-3)

    assert strategy.finished
    assert {path.name for path in directory.iterdir()} == {
        'run.json',
        'process.json',
        'curves.csv',
        'curves.jsonl',
        'supernet.ckpt',
        'supernet.json',
        'history.jsonl',
        'history.json',
        'history.csv',
        'searched.json',
        'result.json',
        'speed.json',
    }
    assert json.loads((directory / 'history.json').read_text()) == [record.to_json() for record in history]
    rows = list(csv.DictReader((directory / 'history.csv').open(newline='')))
    assert [float(row['score']) for row in rows] == [record.score for record in history]
    assert [int(row['conv2']) for row in rows] == [record.widths['conv2'] for record in history]
    assert read_record(directory / 'supernet.json', remedy='') == {'epochs': 1}


def test_the_same_seed_gives_the_same_history(run):
    def history(seed):
        strategy = small(seed=seed)
        run(strategy)
        return [record.to_json() for record in strategy.history]

    first = history(0)
    np.random.seed(5)
    torch.rand(7)
    assert history(0) == first
    other = history(1)
    assert [record['widths'] for record in other] != [record['widths'] for record in first]
    assert [record['score'] for record in other] != [record['score'] for record in first]


def test_training_makes_a_difference(run, classification):
    def best(epochs):
        strategy = small(temperature=1)
        run(strategy, classification(max_epochs=epochs))
        return strategy.history.best(1)[0].score

    assert best(6) < best(1) - 0.1


def test_without_a_directory_the_run_is_kept_below_the_trainers(run, tmp_path):
    strategy = small()
    run(strategy)
    assert strategy.directory.parent == tmp_path / 'lightning' / 'cafenet'
    assert (strategy.directory / 'history.csv').exists()


@pytest.mark.parametrize(
    ('budget', 'limits'),
    [
        ('30%', lambda macs, params: {'macs': int(0.3 * macs)}),
        ('0.02M', lambda macs, params: {'macs': 20_000}),
        ({'macs': '60%', 'params': '40%'}, lambda macs, params: {'macs': int(0.6 * macs), 'params': int(0.4 * params)}),
        ({'params': 900}, lambda macs, params: {'params': 900}),
    ],
)
def test_budgets(run, space, budget, limits):
    strategy = small(budget=budget)
    run(strategy)
    wanted = limits(space.macs(space.full_widths), space.params(space.full_widths))
    assert 12 <= len(strategy.history) <= 13
    for record in strategy.history:
        for name, limit in wanted.items():
            assert getattr(record, name) <= limit


def test_a_list_of_budgets_gives_a_family(run, space, options, tmp_path):
    strategy = small(
        budget=['60%', {'macs': '40%', 'params': '50%'}],
        finalists=1,
        finalist_weights='inherited',
        finalist_evaluator=Classification(
            num_classes=10,
            train_dataloaders=loader(),
            val_dataloaders=DataLoader(TRAIN, batch_size=100),
            export_onnx=False,
            **options,
        ),
        directory=tmp_path / 'run',
    )
    run(strategy)
    names = ['60%', 'macs=40%,params=50%']
    assert strategy.budget_names == names
    trained = {each.finalist.name: each.finalist for each in strategy.trained}
    assert list(trained) == [f'{rank}@{name}' for name in names for rank in ('1', 'uniform')]
    for name, budget in zip(names, strategy.budgets):
        chosen = trained[f'1@{name}'].scored
        assert budget.allows(space.to_array(chosen.widths))[0]
        allowed = [each for each in strategy.history if budget.allows(space.to_array(each.widths))[0]]
        full = [each for each in allowed if is_full(budget, each.widths)] or allowed
        assert chosen.score == min(each.score for each in full)
        assert trained[f'uniform@{name}'].scored.widths == uniform_within(budget)
        assert (tmp_path / 'run' / 'finalists' / f'1@{name}' / 'slim.pt').exists()
    assert 12 < len(strategy.history) <= 26  # a search each; those in both budgets may be proposed twice
    assert 'finalist 1, 60%' in strategy.report()


def test_no_baseline_where_none_is_asked_for():
    strategy = small(finalists=2, baseline=False)
    assert finalist_names(strategy.finalist_options, strategy.budget_names) == ['1', '2']
    assert finalist_names(small(finalists=1).finalist_options, [None]) == ['1', 'uniform']
    assert finalist_names(small(finalists=0).finalist_options, [None]) == []


@pytest.fixture
def computed_latency(monkeypatch):
    """Latencies that are computed, not measured: an operator takes 3 ns an element, a network what its operators take."""

    class Computed(Clock):
        calls = 0

        def describe(self):
            return 'computed'

        def operator(self, operator):
            Computed.calls += 1
            return 100 + 3 * sum(map(math.prod, tensor_sizes(json.loads(operator.arguments))))

        def model(self, model, example, **options):
            return Timing.of([sum(map(self.operator, recorded_operators(model, example)))])

    monkeypatch.setattr('nni_cafenet.latency.runtimes.Clock', Computed)
    return Computed


def test_a_latency_is_measured_once_a_run_and_limits_the_search(run, tmp_path, computed_latency):
    directory = tmp_path / 'run'
    budget = {'latency': '50%', 'macs': '60%'}
    strategy = small(budget=budget, directory=directory)
    run(strategy)
    table = LatencyTable.load(directory / 'latency.json')
    limits = json.loads((directory / 'run.json').read_text())['search']['budget']
    assert limits['latency'] == table.latency(table.space['full']) // 2
    assert len(strategy.history) == 12
    assert all(table.latency(record.widths) <= limits['latency'] for record in strategy.history)
    assert all(record.macs <= limits['macs'] for record in strategy.history)
    measured = computed_latency.calls
    again = small(budget=budget, directory=directory)
    run(again)
    assert list(again.history) == list(strategy.history)
    given = small(budget={**budget, 'table': table}, directory=tmp_path / 'given')
    run(given)
    assert [record.widths for record in given.history] == [record.widths for record in strategy.history]
    assert computed_latency.calls == measured
    other = small(
        budget={**budget, 'table': dataclasses.replace(table, constant=table.constant + 1)}, directory=directory
    )
    with pytest.raises(ResumeError, match='another latency table'):
        run(other)


def test_the_score_may_be_a_metric(run):
    strategy = small(score='val_acc', channel_sets_per_step=1)
    run(strategy)
    scores = [record.score for record in strategy.history]
    assert all(round(40 * score, 3) % 1 == 0 for score in scores)  # shares of 40 held-out samples
    assert strategy.history.best(1)[0].score == max(scores) > min(scores)
    assert all(len(record.scores) == 1 for record in strategy.history)


def test_more_channel_sets_for_scores_than_for_training(run):
    strategy = small(channel_sets_per_score=3, channel_sets_per_step=1)
    run(strategy)
    assert max(len(record.scores) for record in strategy.history) == 3


def test_a_lightning_module_of_the_user(run, options):
    strategy = small(score='top1', sharing=Fixed(), channel_sets_per_step=1)
    run(strategy, Lightning(User(), Trainer(**options), train_dataloaders=loader()))
    assert strategy.history.best(1)[0].score == max(record.score for record in strategy.history)
    with pytest.raises(ValueError, match="score='val_acc': .* It logs top1"):
        run(small(score='val_acc'), Lightning(User(), Trainer(**options), train_dataloaders=loader()))


def test_loaders_inside_the_lightning_module(run, options):
    class WithLoaders(User):
        def prepare_data(self):
            self.prepared = True

        def setup(self, stage):
            assert self.prepared
            self.data = TRAIN

        def train_dataloader(self):
            return DataLoader(self.data, batch_size=32, shuffle=True)

        def val_dataloader(self):
            return DataLoader(Untouchable())

    inside, outside = small(), small()
    run(inside, Lightning(WithLoaders(), Trainer(**options)))
    run(outside, Lightning(User(), Trainer(**options), train_dataloaders=loader()))
    assert [r.to_json() for r in inside.history] == [r.to_json() for r in outside.history]


class Data(pl.LightningDataModule):
    def __init__(self, shift=0.0) -> None:
        super().__init__()
        self.shift, self.calls = shift, []

    def prepare_data(self):
        self.calls.append('prepare_data')

    def setup(self, stage):
        self.calls.append(stage)
        self.data = TRAIN

    def train_dataloader(self):
        return DataLoader(self.data, batch_size=32, shuffle=True)

    def val_dataloader(self):
        return DataLoader(Untouchable())

    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.calls.append('transfer')
        x, y = batch
        return x + self.shift, y


def test_a_data_module(run, options):
    data = Data()
    module, loaders = small(), small()
    run(module, Lightning(User(), Trainer(**options), datamodule=data))
    run(loaders, Lightning(User(), Trainer(**options), train_dataloaders=loader()))
    assert data.calls[:2] == ['prepare_data', 'fit']
    assert [r.to_json() for r in module.history] == [r.to_json() for r in loaders.history]


def test_the_batch_hooks_of_a_data_module_count_for_scores(run, options):
    strategy = small()
    run(strategy, Lightning(User(), Trainer(**options), datamodule=Data(shift=3.0)))
    (x, _), *_ = strategy._scorer.heldout
    (y, _), *_ = list(strategy._context.supernet.data.heldout)
    torch.testing.assert_close(x, y + 3)
    (x, _), *_ = strategy._scorer.statistics
    assert float(x.mean()) > 2


def test_score_data_of_the_user(run, options):
    class Stream(IterableDataset):
        def __iter__(self):
            return zip(IMAGES[:96], LABELS[:96])

    evaluator = Lightning(User(), Trainer(**options), train_dataloaders=DataLoader(Stream(), batch_size=32))
    with pytest.raises(ValueError, match='Give score_data='):
        run(small(), evaluator)
    strategy = small(score_data=DataLoader(TensorDataset(IMAGES[300:350], LABELS[300:350]), batch_size=25))
    run(strategy, evaluator)
    assert [len(y) for _, y in strategy._scorer.heldout] == [25, 25]


@pytest.mark.parametrize('precision', ['bf16-mixed', '64-true'])
def test_precision(run, options, precision):
    dtypes = set()

    class Watching(User):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            dtypes.add((batch[0].dtype, self.model(batch[0]).dtype))
            return loss

    strategy = small(search=RandomSearch(3))
    evaluator = Lightning(Watching(), Trainer(**{**options, 'precision': precision}), train_dataloaders=loader())
    experiment = run(strategy, evaluator)
    expected = {'bf16-mixed': (torch.float32, torch.bfloat16), '64-true': (torch.float64, torch.float64)}
    assert dtypes == {expected[precision]}
    assert all(np.isfinite(record.score) for record in strategy.history)
    (slim,) = experiment.export_top_models(formatter='instance')
    assert slim.fc.weight.dtype == (torch.float64 if precision == '64-true' else torch.float32)


def test_the_space_is_the_supernet_and_keeps_its_names(run, space):
    names = set(Net().state_dict())
    assert set(space.state_dict()) == names
    assert small().mutate_model(space) is space
    assert set(space.state_dict()) == names


# --- refused before training starts -----------------------------------------------------------------


class Choosing(ModelSpace):
    def __init__(self):
        super().__init__()
        self.layer = LayerChoice([nn.Identity(), nn.ReLU()], label='layer')


class NoTraining(User):
    def training_step(self, batch, batch_idx):
        raise AssertionError('training has started')


@pytest.fixture
def refuse(run, options, tmp_path):
    """A run that must end before the first step, and before anything is written for it."""

    def refuse(strategy, error, match, evaluator=None, **more):
        if evaluator is None:
            evaluator = Lightning(NoTraining(), Trainer(**options), train_dataloaders=loader())
        with pytest.raises(error, match=match):
            run(strategy, evaluator, **more)
        assert not (tmp_path / 'lightning' / 'cafenet').exists()

    return refuse


def test_another_model_space(refuse):
    refuse(
        small(),
        TypeError,
        r'Choosing is a model space with choices that are no widths.*WidthMutator\(\)',
        space=Choosing(),
    )


def test_another_evaluator(run, tmp_path):
    with pytest.raises(TypeError, match='FunctionalEvaluator cannot train a supernet. Use an NNI Lightning evaluator'):
        run(small(), FunctionalEvaluator(print), config=NasExperimentConfig('sequential', 'raw', 'local'))


@pytest.mark.parametrize(
    ('budget', 'match'),
    [
        (10**12, 'the full network has'),
        ('1%', 'the smallest reachable network has [0-9,]+ MACs'),
        ({'macs': '50%', 'params': 1}, 'smallest reachable network has [0-9,]+ param'),
    ],
)
def test_budgets_out_of_reach(refuse, budget, match):
    refuse(small(budget=budget), (ValueError, TypeError), match)


@pytest.mark.parametrize('budget', ['-5M', '-50%', '101%', 'half', 0, 0.5, {'flops': 5}, ['50%', 'half'], None])
def test_budgets_that_cannot_be_read_are_refused_at_once(budget):
    with pytest.raises(ValueError, match='budget'):
        CafeNet(budget)


def test_manual_optimization(refuse, options):
    evaluator = Lightning(Manual(), Trainer(**options), train_dataloaders=loader())
    refuse(small(), ValueError, 'Manual uses manual optimization', evaluator)


def test_no_training_data(refuse, options):
    evaluator = Lightning(NoTraining(), Trainer(**options))
    refuse(small(), ValueError, 'no training data. Give it train_dataloaders', evaluator)


def test_an_evaluator_with_choices(refuse, options):
    import nni

    evaluator = Classification(
        num_classes=10, learning_rate=nni.choice('rate', [0.1, 0.2]), train_dataloaders=loader(), **options
    )
    refuse(small(), ValueError, r"free choices \['rate'\]", evaluator)


def test_too_little_to_hold_out(refuse, options):
    data = DataLoader(TensorDataset(IMAGES[:3], LABELS[:3]), batch_size=1)
    evaluator = Lightning(NoTraining(), Trainer(**options), train_dataloaders=data)
    refuse(small(holdout=0.1), ValueError, 'leaves 3 for training and 0 for scores', evaluator)


def test_an_offset_wider_than_the_layers(refuse):
    refuse(small(sharing=LocallyFree(offset=8)), ValueError, 'offset=8 is wider than every layer')


def test_another_engine_or_format(refuse):
    config = NasExperimentConfig('sequential', 'simplified', 'local')
    refuse(small(), TypeError, 'sequential engine, on the raw model format.*NasExperimentConfig', config=config)


@pytest.mark.parametrize(
    ('options', 'error', 'match'),
    [
        ({'channel_sets_per_step': 0}, ValueError, 'channel_sets_per_step=0 must be a whole number, 1 or more'),
        ({'channel_sets_per_step': 1.5}, ValueError, 'channel_sets_per_step=1.5'),
        ({'channel_sets_per_step': True}, ValueError, 'channel_sets_per_step=True'),
        ({'memory': 2}, ValueError, 'memory=2 must be'),
        ({'channel_sets_per_score': 0}, ValueError, 'channel_sets_per_score=0'),
        ({'statistics_batches': -1}, ValueError, 'statistics_batches=-1'),
        ({'seed': -1}, ValueError, 'seed=-1'),
        ({'holdout': 0}, ValueError, 'holdout=0 must be a number between 0 and 1'),
        ({'holdout': 1}, ValueError, 'holdout=1'),
        ({'holdout': '10%'}, ValueError, "holdout='10%'"),
        ({'sharing': 'fixed'}, TypeError, "sharing='fixed' must be a Sharing"),
        ({'search': 100}, TypeError, 'search=100 must be a Searcher'),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        small(**options)


@pytest.mark.parametrize(('budget', 'match'), [([], 'lists no budget'), (['50%', '50 %'], 'has 50% twice')])
def test_bad_lists_of_budgets(budget, match):
    with pytest.raises(ValueError, match=match):
        CafeNet(budget)


def test_results_before_the_run():
    with pytest.raises(RuntimeError, match='has not been run yet'):
        list(small().list_models())
    assert small().state_dict() == {}
    assert not small().finished


def test_it_shows_its_options():
    assert "budget='50%'" in repr(small())
    assert 'LocallyFree(offset=1' in repr(small())


# --- what goes wrong later --------------------------------------------------------------------------


def test_a_training_that_diverges(run, options):
    from nni_cafenet.errors import TrainingDivergedError

    class Diverging(User):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * float('nan')

    with pytest.raises(TrainingDivergedError, match='At step 0'):
        run(small(), Lightning(Diverging(), Trainer(**options), train_dataloaders=loader()))


def test_a_user_checkpoint_and_logger_still_work(run, classification, tmp_path):
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.loggers import CSVLogger

    checkpoint = ModelCheckpoint(tmp_path / 'mine', monitor='val_loss')
    logger = CSVLogger(tmp_path / 'logs')
    run(small(), classification(logger=logger, enable_checkpointing=True, callbacks=[checkpoint], log_every_n_steps=1))
    assert list((tmp_path / 'mine').glob('*.ckpt'))
    (metrics,) = (tmp_path / 'logs').rglob('metrics.csv')
    (header, *rows) = csv.reader(metrics.open())
    assert {'cafenet/loss', 'cafenet/gap', 'cafenet/fixed', 'train_loss', 'val_acc'} <= set(header)


def test_a_temperature_that_does_not_fit_the_loss_is_refused_before_the_training(run, classification, tmp_path):
    strategy = small(temperature=3, score='val_acc', directory=tmp_path / 'run')
    with pytest.raises(
        ValueError, match=r"temperature=3: it divides the logits of a cross-entropy, and 'val_acc' is not"
    ):
        run(strategy)
    assert not (tmp_path / 'run' / 'supernet.ckpt').exists()


def test_looks_at_a_supernet_change_nothing_of_its_training(run, classification, tmp_path, monkeypatch):
    def trained(name):
        strategy = small(directory=tmp_path / name, search=RandomSearch(2), temperature=3)
        run(strategy, classification(max_epochs=6))
        return strategy

    watched = trained('watched')
    assert len((tmp_path / 'watched' / 'uniform_loss.jsonl').read_text().splitlines()) == 6
    monkeypatch.setattr('nni_cafenet.stages.train_supernet.WatchUniform.on_train_epoch_end', lambda *args: None)
    assert [each.to_json() for each in trained('other').history] == [each.to_json() for each in watched.history]
