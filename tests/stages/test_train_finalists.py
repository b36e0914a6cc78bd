from __future__ import annotations

import json
import math

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning, LightningModule, Regression, Trainer
from torch import nn
from torch.utils.data import TensorDataset

from nni_cafenet.errors import DamagedFileError
from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.search.history import Scored
from nni_cafenet.stages.evaluator_factory import EvaluatorFactory
from nni_cafenet.stages.finalists import BASELINE, Finalist, TrainedFinalist
from nni_cafenet.stages.finite_outputs import computes_numbers
from nni_cafenet.stages.ranking_metric import Metric
from nni_cafenet.stages.train_finalists import read_result, train_finalist
from nni_cafenet.stages.training_curves import read_curves
from nni_cafenet.utils.json_records import write_record

SCORED = Scored({'a': 4}, macs=40, params=10, score=0.25, channel_sets={'a': [0, 1, 2, 3]}, scores=(0.25, 0.5))
QUIET = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)


class Crash(BaseException):
    pass


class User(LightningModule):
    """Draws random numbers, and may crash."""

    def __init__(self, logs='val_loss', counts=False):
        super().__init__()
        self.logs, self.crash_at, self.epochs, self.counts = logs, None, [], counts

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.epochs.append(self.current_epoch)
        if self.current_epoch == self.crash_at:
            raise Crash
        x, y = batch
        return nn.functional.mse_loss(self.model(x + torch.rand_like(x)), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        if self.logs:
            self.log(self.logs, nn.functional.mse_loss(self.model(x), y))

    def configure_optimizers(self):
        if self.counts:
            assert self.trainer.estimated_stepping_batches == 16
        return torch.optim.Adam(self.parameters(), 0.01)


def evaluators(logs='val_loss', crash_at=None, generator=False, counts=False, **limit):
    data = TensorDataset(torch.linspace(0, 1, 20)[:, None], torch.linspace(1, 0, 20)[:, None])
    user = User(logs, counts)
    user.crash_at = crash_at
    own = torch.Generator().manual_seed(1) if generator else None
    loader = DataLoader(data, batch_size=5, shuffle=True, generator=own)
    trainer = Trainer(accelerator='cpu', **(limit or {'max_epochs': 4}), **QUIET)
    plain = DataLoader(data, batch_size=5)
    return EvaluatorFactory(Lightning(user, trainer, train_dataloaders=loader, val_dataloaders=plain))


def make():
    return nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.3), nn.Linear(4, 1))


LOSS = Metric('val_loss', False)


def train(folder, metric=LOSS, name='1', **options):
    return train_finalist(
        Finalist(name, SCORED), folder, make=make, evaluators=evaluators(**options), metric=metric, seed=3
    )


# --- records --------------------------------------------------------------------------------------


def test_records_come_back_as_they_were():
    finalist = Finalist(BASELINE, SCORED)
    assert Finalist.from_json(json.loads(json.dumps(finalist.to_json()))) == finalist


def test_the_budget_that_its_name_tells():
    assert [Finalist(name, SCORED).budget for name in ('1', BASELINE, '2@50%', f'{BASELINE}@50%')] == [
        None, None, '50%', '50%'
    ]  # fmt: skip


def test_what_its_trial_reports():
    assert TrainedFinalist(Finalist('1', SCORED), 0.9).report() == {'default': 0.9, 'score': 0.25}
    unknown = Scored({'a': 4}, 40, 10, math.nan, {}, ())
    assert TrainedFinalist(Finalist('1', unknown), 0.9).report() == {'default': 0.9}


# --- the metric -----------------------------------------------------------------------------------


def test_a_metric_that_is_left_open():
    classification = Classification(num_classes=2, accelerator='cpu', **QUIET).module
    assert Metric.of(classification, None, None) == Metric('val_acc', True, inferred=True)
    regression = Regression(accelerator='cpu', **QUIET).module
    assert Metric.of(regression, None, None) == Metric('val_mse', False, inferred=True)
    assert Metric.of(User(), None, None) == Metric(None, True)
    assert Metric.of(User(), 'val_loss', None) == Metric('val_loss', False)
    assert Metric.of(User(), 'val_loss', True) == Metric('val_loss', True)
    assert Metric.of(User(), None, False) == Metric(None, False)


@pytest.mark.parametrize(
    ('name', 'reported', 'logged', 'value'),
    [
        ('acc', None, {'acc': 0.5}, 0.5),
        ('acc', {'default': 0.1, 'acc': 0.2}, {'acc': 0.5}, 0.5),
        ('acc', {'default': 0.1, 'acc': 0.2}, {}, 0.2),
        ('acc', {'acc': 0.2}, {}, 0.2),
        ('acc', 0.3, {}, None),
        ('acc', {'default': 0.1}, {}, None),
        ('acc', None, {'val_loss': 0.7}, None),
        (None, 0.3, {'val_loss': 0.7}, 0.3),
        (None, {'default': 0.1}, {}, 0.1),
        (None, None, {'val_loss': 0.7}, 0.7),
        (None, None, {}, None),
    ],
)
def test_where_its_value_is_found(name, reported, logged, value):
    assert Metric(name, True).value(reported, logged) == value


def test_more_fitness_is_better():
    assert Metric('acc', True).fitness(0.5) == 0.5
    assert Metric('loss', False).fitness(0.5) == -0.5
    assert Metric('loss', False).fitness(math.nan) == -math.inf


# --- training -------------------------------------------------------------------------------------


def test_the_trained_network_and_its_result_are_kept(tmp_path):
    result = train(tmp_path / '1')
    assert {path.name for path in (tmp_path / '1').iterdir()} == {
        'curves.csv',
        'curves.jsonl',
        'result.json',
        'slim.pt',
        'widths.json',
    }
    assert result.metric == result.metrics['val_loss']
    assert read_result(Finalist('1', SCORED), tmp_path / '1') == result
    other = Scored({'a': 5}, 50, 12, 0.1, {}, ())
    assert read_result(Finalist('1', other), tmp_path / '1') is None
    assert read_result(Finalist('2', SCORED), tmp_path / '2') is None


def test_it_is_not_trained_again(tmp_path):
    result = train(tmp_path / '1')
    assert train(tmp_path / '1', crash_at=0) == result


@pytest.mark.parametrize(
    ('epoch', 'options'),
    [
        (1, {}),
        (3, {}),
        (1, {'max_epochs': -1, 'max_steps': 16}),
        (3, {'max_epochs': -1, 'max_steps': 16}),
        (2, {'generator': True}),
        (1, {'counts': True}),
        (2, {'counts': True, 'generator': True}),
    ],
)
def test_killed_and_started_again_it_ends_the_same(tmp_path, epoch, options):
    expected = train(tmp_path / 'whole', **options)
    with pytest.raises(Crash):
        train(tmp_path / '1', crash_at=epoch, **options)
    assert (tmp_path / '1' / 'checkpoint.ckpt').exists()
    torch.rand(5)
    assert train(tmp_path / '1', **options) == expected
    whole, resumed = (torch.load(tmp_path / name / 'slim.pt', weights_only=True) for name in ('whole', '1'))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    whole, resumed = (read_curves(tmp_path / name / 'curves.jsonl') for name in ('whole', '1'))
    assert resumed == whole
    assert not (tmp_path / '1' / 'checkpoint.ckpt').exists()


def test_killed_in_its_first_epoch_it_starts_anew(tmp_path):
    expected = train(tmp_path / 'whole')
    with pytest.raises(Crash):
        train(tmp_path / '1', crash_at=0)
    assert list((tmp_path / '1').iterdir()) == []
    assert train(tmp_path / '1') == expected


def test_generators_are_as_before(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(tmp_path / '1')
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_that_is_cut_short_is_named(tmp_path):
    from nni_cafenet.errors import ResumeError

    with pytest.raises(Crash):
        train(tmp_path / '1', crash_at=2)
    checkpoint = tmp_path / '1' / 'checkpoint.ckpt'
    checkpoint.write_bytes(checkpoint.read_bytes()[:-2000])
    with pytest.raises(ResumeError, match='damaged') as error:
        train(tmp_path / '1')
    assert str(checkpoint) in str(error.value)
    assert 'delete it' in str(error.value)


def test_a_metric_that_is_not_logged_is_an_error_that_says_what_is(tmp_path):
    with pytest.raises(ValueError, match="metric='val_f1'") as error:
        train(tmp_path / '1', metric=Metric('val_f1', True))
    assert 'val_loss' in str(error.value)
    assert (tmp_path / '1' / 'slim.pt').exists()
    assert not (tmp_path / '1' / 'result.json').exists()
    with pytest.raises(ValueError, match='logged nothing'):
        train(tmp_path / '2', logs=None, metric=Metric(None, True))


def test_a_changed_digit_in_a_result_is_noticed(tmp_path):
    path = tmp_path / 'result.json'
    write_record(path, {**Finalist('1', SCORED).to_json(), 'metric': 0.5, 'metrics': {}})
    path.write_text(path.read_text().replace('"metric": 0.5', '"metric": 0.9'))
    with pytest.raises(DamagedFileError, match=r'result\.json is damaged .* or delete it to train that network again'):
        read_result(Finalist('1', SCORED), tmp_path)


def test_a_result_that_is_not_a_number_is_kept(tmp_path):
    path = tmp_path / 'result.json'
    write_record(path, {**Finalist('1', SCORED).to_json(), 'metric': None, 'metrics': {}})
    assert math.isnan(read_result(Finalist('1', SCORED), tmp_path).metric)


def test_a_network_that_diverged_has_no_metric_whatever_its_evaluator_says(tmp_path, caplog):
    class Diverges(nn.Module):
        def forward(self, x):
            return x * math.inf

    assert not computes_numbers(Diverges(), ExampleInput.of((1, 2), Diverges()))
    record = {
        **Finalist('1', SCORED).to_json(),
        'finite': False,
        'reported': 0.9,
        'metrics': {'val_loss': 0.5},
        'metric': None,
    }
    write_record(tmp_path / 'result.json', record)
    assert math.isnan(read_result(Finalist('1', SCORED), tmp_path, Metric('val_loss', False)).metric)


def test_another_metric_is_read_from_what_was_logged(tmp_path):
    values = {'ranked_by': 'val_acc', 'reported': 0.9, 'metrics': {'val_loss': 0.5}, 'metric': 0.9}
    write_record(tmp_path / 'result.json', {**Finalist('1', SCORED).to_json(), **values})
    assert read_result(Finalist('1', SCORED), tmp_path, Metric('val_loss', False)).metric == 0.5
    with pytest.raises(ValueError, match=r"metric='val_f1'.* val_loss"):
        read_result(Finalist('1', SCORED), tmp_path, Metric('val_f1', True))
