from __future__ import annotations

import copy
import csv
import itertools
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from nni.nas.evaluator.pytorch import LightningModule
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet import EqualBins, Fixed, LocallyFree, WidthMutator
from nni_cafenet.errors import TrainingDivergedError
from nni_cafenet.supernet.lightning_module import MinMinModule
from nni_cafenet.supernet.sharing import Sharing
from nni_cafenet.testing import digits


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(8, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


class Module(LightningModule):
    """A user's module."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.options = {'optimizer': torch.optim.SGD, 'lr': 0.1, **options}
        self.accuracy = torchmetrics.Accuracy('multiclass', num_classes=10)

    def loss(self, batch):
        x, y = batch
        scores = self.model(x)
        return cross_entropy(scores, y), scores

    def training_step(self, batch, batch_idx):
        loss, scores = self.loss(batch)
        self.log('train_loss', loss)
        self.log('train_acc', self.accuracy(scores, batch[1]))
        return loss

    def validation_step(self, batch, batch_idx):
        loss, scores = self.loss(batch)
        self.log('val_loss', loss)

    def configure_optimizers(self):
        return self.options['optimizer'](self.parameters(), lr=self.options['lr'])


class Scripted(Sharing):
    """Gives channel sets one after the other."""

    def __init__(self, sets):
        self.sets = iter(sets)

    def sample(self, group, width, rng):
        raise NotImplementedError

    every = sample

    def sample_all(self, groups, widths, rng):
        return next(self.sets)


class Logs(dict):
    def __call__(self, name, value, **_):
        self[name] = float(value)


IMAGES, LABELS = digits('train').tensors
BATCH = IMAGES[:32], LABELS[:32]


@pytest.fixture(scope='module')
def template():
    torch.manual_seed(0)
    return {dropout: make_space(dropout) for dropout in (0.0, 0.5)}


def make_space(dropout):
    return WidthMutator(bins=EqualBins(8)).mutate(Net(dropout), example_input=(2, 1, 8, 8))


@pytest.fixture
def space(template):
    return copy.deepcopy(template[0.0])


@pytest.fixture
def make(template):
    """``make(user, ...)``: a min-min module around a user's, with a fresh copy of the same supernet."""

    def make(user=None, *, dropout=0.0, sharing=None, channel_sets_per_step=2, seed=0, memory='fast'):
        inner = Module() if user is None else user
        inner.set_model(copy.deepcopy(template[dropout]))
        sharing = sharing or LocallyFree(offset=2)
        return MinMinModule(
            inner, sharing=sharing, channel_sets_per_step=channel_sets_per_step, seed=seed, memory=memory
        )

    return make


def alone(module):
    """Make a module that can run steps without a trainer; its logs."""
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    module.fake = SimpleNamespace(strategy=strategy, global_step=7, world_size=1)
    module.__dict__['logs'] = Logs()
    module.trainer = module.fake
    module.log = module.logs
    module.training_module.log = module.logs
    module.train()
    return module


def loader(batches=4, size=16, **options):
    return DataLoader(TensorDataset(IMAGES[: batches * size], LABELS[: batches * size]), size, **options)


@pytest.fixture
def trainer(tmp_path):
    def make(**options):
        defaults = {
            'accelerator': 'cpu',
            'max_epochs': 1,
            'logger': False,
            'enable_checkpointing': False,
            'enable_progress_bar': False,
            'enable_model_summary': False,
            'default_root_dir': str(tmp_path),
        }
        return pl.Trainer(**{**defaults, **options})

    return make


def draw(module, channel_sets_per_step, seed=0):
    """The widths that a module draws next, and some channel sets of them."""
    rng = copy.deepcopy(module.rng)
    widths = {g.label: g.choices[int(rng.integers(len(g.choices)))] for g in module.space.groups}
    rng = np.random.default_rng(seed)
    return widths, [
        LocallyFree(offset=3).sample_all(module.space.groups, widths, rng) for _ in range(channel_sets_per_step)
    ]


def gradients(module):
    return {name: p.grad.clone() for name, p in module.space.named_parameters()}


# --- the winner -------------------------------------------------------------------------------------


@pytest.mark.parametrize('memory', ['fast', 'lean'])
def test_the_winner_has_the_smallest_loss_and_its_gradients_alone_stay(make, memory):
    torch.manual_seed(0)
    module = alone(make(channel_sets_per_step=3, memory=memory))
    winners = set()
    for step in range(6):
        widths, sets = draw(module, 3, seed=step)
        module.sharing = Scripted(sets)
        slims = [module.space.slim(widths, chosen).train() for chosen in sets]
        losses = [cross_entropy(slim(BATCH[0]), BATCH[1]) for slim in slims]
        winner = min(range(3), key=lambda i: float(losses[i]))
        losses[winner].backward()

        module.zero_grad()
        loss = module.training_step(BATCH, 0)
        torch.testing.assert_close(loss, losses[winner], rtol=1e-5, atol=1e-6)
        loss.backward()
        first, second = (sets[winner][label] for label in module.space.labels)
        expected, slim = {name: torch.zeros_like(p) for name, p in module.space.named_parameters()}, slims[winner]
        for name in ('conv1.weight', 'conv1.bias', 'bn1.weight', 'bn1.bias'):
            expected[name][first] = slim.get_parameter(name).grad
        for name in ('conv2.bias', 'bn2.weight', 'bn2.bias'):
            expected[name][second] = slim.get_parameter(name).grad
        expected['conv2.weight'][second[:, None], first] = slim.conv2.weight.grad
        expected['fc.weight'][:, second] = slim.fc.weight.grad
        expected['fc.bias'] = slim.fc.bias.grad
        for name, gradient in gradients(module).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6, msg=f'{step} {name}')
        assert module.logs['cafenet/loss'] == pytest.approx(float(losses[winner]), rel=1e-5)
        gap = max(map(float, losses)) - min(map(float, losses))
        assert module.logs['cafenet/gap'] == pytest.approx(gap, rel=1e-3, abs=1e-6)
        winners.add(winner)
        running = channel_sets(module.space)  # what the hooks after the step see
        assert torch.equal(running['bn1.bias'], first)
        assert torch.equal(running['bn2.bias'], second)
    assert winners == {0, 1, 2}  # the first, the middle and the last one each won once


DRAWN = []
"""What every run of a `Noisy` step drew."""


class Noisy(Module):
    """Uses every kind of state that a losing channel set could change."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.BatchNorm1d(10, affine=False)
        self.total = torchmetrics.MeanMetric()
        self.register_buffer('count', torch.zeros(()))
        self.losses, self.sizes, self.steps = [], {'seen': []}, 0

    def training_step(self, batch, batch_idx):
        x, y = batch
        noise = torch.rand(1).item(), np.random.rand(), random.random()
        DRAWN.append(noise)
        loss, scores = self.loss((x + 0.1 * sum(noise) * torch.randn_like(x), y))
        loss = loss + self.head(scores).square().mean()
        self.count = self.count + loss.detach()
        self.losses.append(loss)
        self.sizes['seen'].append(float(scores.detach().norm()))
        self.scores, self.steps = scores, self.steps + 1
        self.total.update(loss.detach())
        self.log('train_loss', loss)
        self.log('train_acc', self.accuracy(scores, y))
        self.log('total', self.total.compute())
        return loss


def draws():
    return torch.rand(2).tolist(), np.random.rand(), random.random()


def seed_all():
    torch.manual_seed(5), np.random.seed(5), random.seed(5)


def effects(module):
    return {
        'buffers': {name: buffer.clone() for name, buffer in module.named_buffers()},
        'gradients': gradients(module),
        'accuracy': module.training_module.accuracy.compute(),
        'updates': torch.tensor(module.training_module.accuracy.update_count),
        'total': module.training_module.total.compute(),
        'logs': {name: torch.tensor(value) for name, value in module.logs.items() if '/' not in name},
        'kept': [torch.stack(module.training_module.losses), module.training_module.scores],
        'counted': torch.tensor([module.training_module.steps, *module.training_module.sizes['seen']]),
        'draws': [torch.tensor(numbers) for numbers in draws()],
    }


@pytest.mark.parametrize('memory', ['fast', 'lean'])
@pytest.mark.parametrize('position', [0, 1, 2])
def test_nothing_that_a_loser_did_stays(make, position, memory):
    def ready(channel_sets_per_step, sets):
        module = alone(
            make(
                Noisy(), dropout=0.5, channel_sets_per_step=channel_sets_per_step, sharing=Scripted(sets), memory=memory
            )
        )
        module.training_step(BATCH, 0).backward()  # some state to start from
        module.zero_grad()
        DRAWN.clear()
        return module

    widths, warm_up = draw(make(dropout=0.5), 3)
    probe = make(dropout=0.5)
    probe.options.sampling.draw(probe.space, probe.rng)
    widths, sets = draw(probe, 3, seed=1)

    # Which one wins is known from each of them alone; the winner is then put in every place.
    losses = []
    for chosen in sets:
        seed_all()
        module = ready(1, [warm_up[0], chosen])
        losses.append(float(module.training_step(BATCH, 0)))
    assert len(set(losses)) == 3
    order = sorted(range(3), key=losses.__getitem__)
    arranged = [sets[order[1]], sets[order[2]]]
    arranged.insert(position, sets[order[0]])

    seed_all()
    expected_module = ready(1, [warm_up[0], sets[order[0]]])
    expected_module.training_step(BATCH, 0).backward()
    expected = effects(expected_module)

    seed_all()
    module = ready(3, [warm_up[0]] * 3 + arranged)
    module.training_step(BATCH, 0).backward()
    assert len(DRAWN) == 3 + (memory == 'lean' and position < 2)  # lean: the winner once more, unless it was the last
    assert len(set(DRAWN)) == 1  # the same random numbers for all
    torch.testing.assert_close(effects(module), expected, rtol=0, atol=0)
    assert module.logs['cafenet/loss'] == min(losses)
    assert module.logs['cafenet/gap'] == pytest.approx(max(losses) - min(losses))


@pytest.mark.parametrize('memory', ['fast', 'lean'])
def test_all_candidates_have_the_same_dropout(make, memory):
    masks = []

    def replay(layer, inputs):
        with torch.random.fork_rng():
            masks.append(nn.functional.dropout(torch.ones_like(inputs[0])))

    module = alone(make(dropout=0.5, channel_sets_per_step=3, sharing=LocallyFree(offset=3), memory=memory))
    module.space.dropout.register_forward_pre_hook(replay)
    first = []
    for number in range(3):
        masks.clear()
        module.training_step(BATCH, number)
        assert len(masks) > 1
        assert 0 < float((masks[0] == 0).float().mean()) < 1
        assert all(torch.equal(mask, masks[0]) for mask in masks)
        first.append(masks[0])
    assert first[0].shape != first[1].shape or not torch.equal(first[0], first[1])


def test_the_running_statistics_are_those_of_the_winner(make):
    module = alone(make(channel_sets_per_step=2))
    before = {name: buffer.clone() for name, buffer in module.space.named_buffers()}
    widths, sets = draw(module, 2)
    module.sharing = Scripted(sets)
    losses = [cross_entropy(module.space.slim(widths, chosen).train()(BATCH[0]), BATCH[1]) for chosen in sets]
    winner = sets[int(losses[1] < losses[0])]
    slim = module.space.slim(widths, winner).train()
    slim(BATCH[0])
    module.training_step(BATCH, 0)
    first = winner[module.space.labels[0]]
    expected = before['bn1.running_mean'].clone()
    expected[first] = slim.bn1.running_mean
    torch.testing.assert_close(module.space.bn1.running_mean, expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(module.space.bn1.running_mean, before['bn1.running_mean'])
    assert int(module.space.bn1.num_batches_tracked) == 1


def test_one_pattern_runs_the_step_once(make):
    class Counting(Module):
        calls = 0

        def training_step(self, batch, batch_idx):
            self.calls += 1
            return super().training_step(batch, batch_idx)

    module = alone(make(Counting(), channel_sets_per_step=1))
    loss = module.training_step(BATCH, 0)
    assert module.training_module.calls == 1
    assert module.logs['cafenet/loss'] == module.logs['train_loss'] == float(loss)
    assert module.logs['cafenet/gap'] == 0


def test_equal_channel_sets_are_run_once(make):
    class Counting(Module):
        calls = 0

        def training_step(self, batch, batch_idx):
            self.calls += 1
            return super().training_step(batch, batch_idx)

    module = alone(make(Counting(), channel_sets_per_step=4, sharing=Fixed()))
    module.training_step(BATCH, 0)
    assert module.training_module.calls == 1
    assert module.logs['cafenet/fixed'] == 1


def test_the_share_of_fixed_patterns(make):
    module = alone(make(channel_sets_per_step=1))
    labels = module.space.labels
    widths, _ = draw(module, 1)
    fixed = {label: torch.arange(widths[label]) for label in labels}
    other = {**fixed, labels[0]: torch.arange(widths[labels[0]])}
    other[labels[0]][-1] += 1  # one channel further to the right
    assert widths[labels[0]] < 8
    module.sharing = Scripted([other])
    module.training_step(BATCH, 0)
    assert module.logs['cafenet/fixed'] == 0.5


def test_widths_are_uniform_over_the_choices(make):
    module = make()
    draws = [module.options.sampling.draw(module.space, module.rng)[0] for _ in range(4000)]
    for group in module.space.groups:
        counts = np.array([sum(widths[group.label] == choice for widths in draws) for choice in group.choices])
        assert counts.sum() == 4000
        expected = 4000 / len(counts)
        k = len(counts) - 1
        assert ((counts - expected) ** 2 / expected).sum() < k + 4 * math.sqrt(2 * k)
    joint = {tuple(widths.values()) for widths in draws}
    assert len(joint) == math.prod(len(group.choices) for group in module.space.groups)  # groups are drawn apart


def test_the_seed_decides_widths_and_sets(make):
    def record(seed):
        module = alone(make(seed=seed, channel_sets_per_step=2))
        seen = []
        module.space.register_forward_hook(
            lambda space, *_: seen.append({k: v.tolist() for k, v in channel_sets(space).items()})
        )
        torch.manual_seed(random.randrange(100))
        for _ in range(3):
            module.training_step(BATCH, 0)
        return seen

    assert record(0) == record(0)
    assert record(0) != record(1)


def channel_sets(space):
    """The channel sets that a space runs on, told from its slices of the first normalization's weights."""
    marks = space._active.positions
    return {
        name: marks[name][0] if marks[name][0] is not None else torch.arange(8) for name in ('bn1.bias', 'bn2.bias')
    }


# --- what a step may return -------------------------------------------------------------------------


class Returning(Module):
    """Returns something made of its loss; ``make(index, loss)`` gets the number of the call."""

    def __init__(self, make) -> None:
        super().__init__()
        self.make, self.calls = make, itertools.count()

    def training_step(self, batch, batch_idx):
        return self.make(next(self.calls), self.loss(batch)[0])


def test_a_dict_with_more_than_the_loss(make):
    module = alone(make(Returning(lambda i, loss: {'loss': loss + 1 - i, 'index': i}), channel_sets_per_step=2))
    output = module.training_step(BATCH, 0)
    assert output['index'] == 1
    output['loss'].backward()
    assert module.logs['cafenet/loss'] == float(output['loss'])


@pytest.mark.parametrize('channel_sets_per_step', [1, 2])
def test_none_skips_the_batch(make, channel_sets_per_step):
    module = alone(make(Returning(lambda i, loss: None), channel_sets_per_step=channel_sets_per_step))
    assert module.training_step(BATCH, 0) is None
    assert 'cafenet/loss' not in module.logs


@pytest.mark.parametrize('channel_sets_per_step', [1, 2])
def test_no_loss_at_all(make, channel_sets_per_step):
    module = alone(make(Returning(lambda i, loss: {'value': loss}), channel_sets_per_step=channel_sets_per_step))
    with pytest.raises(TypeError, match="a dict with the key 'loss'"):
        module.training_step(BATCH, 0)


@pytest.mark.parametrize('bad', [0, 1, 2])
def test_nan_in_one_candidate_never_wins(make, bad):
    module = alone(make(Returning(lambda i, loss: loss * math.nan if i == bad else loss), channel_sets_per_step=3))
    loss = module.training_step(BATCH, 0)
    assert math.isfinite(float(loss))
    loss.backward()
    assert all(bool(g.isfinite().all()) for g in gradients(module).values())
    assert math.isfinite(module.logs['cafenet/gap'])


def test_infinity_in_one_candidate(make):
    module = alone(make(Returning(lambda i, loss: loss / 0 if i == 0 else loss), channel_sets_per_step=2))
    assert math.isfinite(float(module.training_step(BATCH, 0)))
    assert module.logs['cafenet/gap'] == 0


@pytest.mark.parametrize('channel_sets_per_step', [1, 3])
def test_nan_in_all_candidates_stops_the_training(make, channel_sets_per_step):
    module = alone(make(Returning(lambda i, loss: loss * math.nan), channel_sets_per_step=channel_sets_per_step))
    widths, _ = draw(module, 1)
    with pytest.raises(TrainingDivergedError, match=r'At step 7 .* [1-3] channel sets') as error:
        module.training_step(BATCH, 0)
    assert str(widths) in str(error.value)
    assert 'learning rate' in str(error.value)


def test_an_error_in_the_step_leaves_logging_in_order(make):
    def fail(index, loss):
        raise KeyError('user')

    module = alone(make(Returning(fail)))
    with pytest.raises(KeyError, match='user'):
        module.training_step(BATCH, 0)
    assert module.training_module.log == module.log


def test_the_model_must_be_a_width_space():
    from nni.nas.nn.pytorch import ModelSpace

    class Other(ModelSpace):
        pass

    inner = Module()
    inner.set_model(Other())
    with pytest.raises(TypeError, match='must be a WidthSpace, not Other'):
        MinMinModule(inner, sharing=Fixed(), channel_sets_per_step=1, seed=0).space


# --- with Lightning ---------------------------------------------------------------------------------


class WithHooks(Module):
    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.seen = []

    def on_before_optimizer_step(self, optimizer):
        self.seen.append({name: p.grad.clone() for name, p in self.model.named_parameters()})


def test_accumulated_gradients_are_those_of_the_winners(make, trainer):
    user = WithHooks(lr=0.0)
    trainer(accumulate_grad_batches=2).fit(make(user), loader(4))
    assert len(user.seen) == 2
    module = alone(make(Module()))
    for step, batches in enumerate(itertools.zip_longest(*[iter(loader(4))] * 2)):
        module.zero_grad()
        for batch in batches:
            (module.training_step(batch, 0) / 2).backward()
        torch.testing.assert_close(user.seen[step], gradients(module), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('algorithm', ['norm', 'value'])
def test_gradient_clipping(make, trainer, algorithm):
    class Watched(torch.optim.SGD):
        def step(self, closure):
            loss = closure()
            user.seen.append({i: p.grad.clone() for i, p in enumerate(self.param_groups[0]['params'])})
            return super().step(lambda: loss)

    user = WithHooks(optimizer=Watched)
    trainer(gradient_clip_val=0.01, gradient_clip_algorithm=algorithm).fit(make(user), loader(2))
    before, after = user.seen[0], user.seen[1]

    def size(found):
        values = torch.cat([g.flatten() for g in found.values()])
        return float(values.norm() if algorithm == 'norm' else values.abs().max())

    assert size(before) > 0.02
    assert size(after) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ('interval', 'expected'),
    [('epoch', [0.1, 0.05, 0.025]), ('step', [0.1 * 0.5 ** (2 * epoch) for epoch in range(3)])],
)
def test_learning_rate_schedules(make, trainer, interval, expected):
    class Scheduled(Module):
        rates = ()

        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
            return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': interval}}

        def on_train_epoch_start(self):
            self.rates = (*self.rates, self.trainer.optimizers[0].param_groups[0]['lr'])

    user = Scheduled()
    trainer(max_epochs=3).fit(make(user), loader(2))
    assert user.rates == pytest.approx(expected)


@pytest.mark.parametrize('monitor', ['train_loss', 'val_loss', 'cafenet/loss'])
def test_reduce_on_plateau(make, trainer, monitor):
    class Plateau(Module):
        rates = ()

        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            # 'better' would be a loss twice as small: every epoch after the first one halves the rate
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)
            return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'monitor': monitor}}

        def on_train_epoch_start(self):
            self.rates = (*self.rates, self.trainer.optimizers[0].param_groups[0]['lr'])

    user = Plateau()
    trainer(max_epochs=3).fit(make(user), loader(2), loader(1))
    assert user.rates == pytest.approx([0.1, 0.1, 0.05])


def test_mixed_precision(make, trainer):
    class Mixed(Module):
        dtypes = ()

        def training_step(self, batch, batch_idx):
            self.dtypes = (*self.dtypes, self.model(batch[0]).dtype)
            return super().training_step(batch, batch_idx)

    user, module = Mixed(), None
    module = make(user)
    before = copy.deepcopy(module.space.state_dict())
    trainer(precision='bf16-mixed').fit(module, loader(3))
    assert set(user.dtypes) == {torch.bfloat16}
    state = module.space.state_dict()
    assert all(value.dtype == before[name].dtype for name, value in state.items())
    assert all(bool(value.isfinite().all()) for value in state.values())
    assert not torch.equal(state['conv1.weight'], before['conv1.weight'])


def test_logs_and_checkpoints(make, trainer, tmp_path):
    class Stepwise(Module):
        def training_step(self, batch, batch_idx):
            loss, scores = self.loss(batch)
            self.log('train_loss', loss, on_step=True, on_epoch=True)
            self.accuracy(scores, batch[1])
            self.log('train_acc', self.accuracy, on_step=True, on_epoch=True)
            return loss

    logger = CSVLogger(tmp_path, name='logs', version=0)
    checkpoint = ModelCheckpoint(tmp_path / 'checkpoints', monitor='val_loss', save_last=True)
    module = make(Stepwise(), channel_sets_per_step=3)
    run = trainer(
        logger=logger,
        enable_checkpointing=True,
        callbacks=[checkpoint, LearningRateMonitor('step')],
        log_every_n_steps=1,
        max_epochs=2,
    )
    run.fit(module, loader(4), loader(1))
    rows = list(csv.DictReader((tmp_path / 'logs' / 'version_0' / 'metrics.csv').open()))
    steps = [row for row in rows if row.get('train_loss_step')]
    assert len(steps) == 8
    assert all(row['train_loss_step'] == row['cafenet/loss'] for row in steps)  # of the winner, not of the last one
    assert all(float(row['cafenet/gap']) >= 0 for row in steps)
    assert any(float(row['cafenet/gap']) > 0 for row in steps)
    assert all(0 <= float(row['cafenet/fixed']) <= 1 for row in steps)
    epochs = [row for row in rows if row.get('train_loss_epoch')]
    assert len(epochs) == 2
    for number, row in enumerate(epochs):
        four = steps[4 * number : 4 * number + 4]
        for name in ('train_loss', 'train_acc'):  # one count a step: losers are not averaged in
            mean = sum(float(step[f'{name}_step']) for step in four) / 4
            assert float(row[f'{name}_epoch']) == pytest.approx(mean, rel=1e-4)
    assert [float(row['lr-SGD']) for row in rows if row.get('lr-SGD')]
    saved = torch.load(checkpoint.best_model_path, weights_only=False)
    assert {f'training_module._model.{name}' for name in module.space.state_dict()} <= set(saved['state_dict'])
    assert saved['cafenet']['rng']
    assert checkpoint.best_model_score == run.callback_metrics['val_loss'] or len(rows) > 2
    assert (tmp_path / 'checkpoints' / 'last.ckpt').exists()


def test_a_checkpoint_brings_the_generators_back(make, trainer, tmp_path):
    class Recording(Module):
        def __init__(self):
            super().__init__()
            self.losses = []

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.losses.append((float(loss), float(torch.rand(1)), np.random.rand()))
            return loss

    def fit(epochs, path=None):
        seed_all()
        user = Recording()
        run = trainer(max_epochs=epochs)
        module = make(user, dropout=0.5)
        run.fit(module, loader(3), ckpt_path=path)
        return run, user.losses, module

    _, whole, expected = fit(3)
    run, start, _ = fit(2)
    run.save_checkpoint(tmp_path / 'saved.ckpt')
    _, rest, module = fit(3, tmp_path / 'saved.ckpt')
    assert start + rest == whole
    torch.testing.assert_close(module.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_validation_runs_the_full_network(make, trainer):
    class Validated(Module):
        outputs = ()

        def validation_step(self, batch, batch_idx):
            self.outputs = (*self.outputs, (self.model(batch[0]), self.model.full_model))
            return super().validation_step(batch, batch_idx)

    user = Validated()
    module = make(user)
    trainer(num_sanity_val_steps=0, max_epochs=1).fit(module, loader(2), loader(1))
    ((output, _),) = user.outputs
    space = module.space.eval()
    space.activate(space.full_widths)
    torch.testing.assert_close(output, space.full_model(IMAGES[:16]))


HOOKS = [
    'backward',
    'configure_callbacks',
    'configure_gradient_clipping',
    'configure_model',
    'configure_optimizers',
    'lr_scheduler_step',
    'on_after_backward',
    'on_after_batch_transfer',
    'on_before_backward',
    'on_before_batch_transfer',
    'on_before_optimizer_step',
    'on_before_zero_grad',
    'on_fit_end',
    'on_fit_start',
    'on_load_checkpoint',
    'on_save_checkpoint',
    'on_train_batch_end',
    'on_train_batch_start',
    'on_train_end',
    'on_train_epoch_end',
    'on_train_epoch_start',
    'on_train_start',
    'on_validation_batch_end',
    'on_validation_batch_start',
    'on_validation_end',
    'on_validation_epoch_end',
    'on_validation_epoch_start',
    'on_validation_model_eval',
    'on_validation_model_train',
    'on_validation_model_zero_grad',
    'on_validation_start',
    'optimizer_step',
    'optimizer_zero_grad',
    'setup',
    'teardown',
    'training_step',
    'transfer_batch_to_device',
    'validation_step',
]


def recording(name):
    def hook(self, *args, **kwargs):
        self.calls.append(name)
        return getattr(super(Recorder, self), name)(*args, **kwargs)

    return hook


class Recorder(Module):
    """Overrides every hook that a user's module may override, and writes down when it is called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def configure_optimizers(self):
        self.calls.append('configure_optimizers')
        optimizer = super().configure_optimizers()
        return [optimizer], [{'scheduler': torch.optim.lr_scheduler.StepLR(optimizer, 1), 'interval': 'step'}]


for _name in HOOKS:
    if _name != 'configure_optimizers':
        setattr(Recorder, _name, recording(_name))


def test_the_hooks_of_the_user_are_called_as_without_us(make, trainer, space, tmp_path):
    def fit(user, module):
        options = {'gradient_clip_val': 1.0, 'max_epochs': 1, 'num_sanity_val_steps': 1}
        run = trainer(**options)
        run.fit(module, loader(2), loader(1))
        run.save_checkpoint(tmp_path / 'hooks.ckpt')
        run = trainer(**{**options, 'max_epochs': 2})
        run.fit(module, loader(2), loader(1), ckpt_path=tmp_path / 'hooks.ckpt')
        return user.calls

    plain = Recorder()
    plain.set_model(space)
    expected = fit(plain, plain)
    assert set(expected) == set(HOOKS)
    user = Recorder()
    assert fit(user, make(user, channel_sets_per_step=1)) == expected


def test_a_hook_that_skips_the_epoch(make, trainer):
    class Skipping(Module):
        def on_train_batch_start(self, batch, batch_idx):
            return -1

    user = Skipping()
    module = make(user)
    before = copy.deepcopy(module.space.state_dict())
    trainer().fit(module, loader(2))
    torch.testing.assert_close(module.space.state_dict(), before, rtol=0, atol=0)


def test_a_step_that_asks_its_module_about_the_training(make, trainer):
    class Curious(Module):
        def training_step(self, batch, batch_idx):
            rate = self.optimizers().param_groups[0]['lr']
            self.log_dict({'rate': rate, 'epoch_': float(self.current_epoch), 'step_': float(self.global_step)})
            self.logged = self.trainer.max_epochs
            return super().training_step(batch, batch_idx)

    user = Curious()
    run = trainer(max_epochs=2)
    run.fit(make(user), loader(2))
    assert run.callback_metrics['rate'] == pytest.approx(0.1)
    assert run.callback_metrics['epoch_'] == 1
    assert run.callback_metrics['step_'] == 3
    assert user.logged == 2


def test_training_lowers_the_loss_of_random_widths(make, trainer):
    torch.manual_seed(0)
    module = make(Module(lr=0.1))

    def losses():
        space = module.space.train()
        found = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            widths = {g.label: int(rng.choice(g.choices[3:])) for g in space.groups}
            found.append(float(cross_entropy(space.slim(widths).train()(IMAGES[:200]), LABELS[:200])))
        return np.array(found)

    before = losses()
    trainer(max_epochs=6).fit(module, DataLoader(TensorDataset(IMAGES[:400], LABELS[:400]), 32, shuffle=True))
    assert (losses() < before - 0.08).all()
