from __future__ import annotations

import contextlib
import copy
import itertools
import math
from unittest import mock

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import Phase, given, settings, strategies as st
from nni.nas.evaluator.pytorch import ClassificationModule, LightningModule
from scipy.optimize import minimize_scalar
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from nni_cafenet import EqualBins, Fixed, LocallyFree, WidthMutator
from nni_cafenet.search.history import better_when_higher
from nni_cafenet.search.logged_means import batch_size
from nni_cafenet.search.model_outputs import Logits
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.supernet.bn_statistics import estimate_statistics
from nni_cafenet.supernet.lightning_module import MinMinModule, loss_of
from nni_cafenet.supernet.side_effects import SideEffects
from nni_cafenet.testing import digits
from nni_cafenet.utils.rng import load_random_state, random_state, seeded


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(8, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


class User(LightningModule):
    """Logs by value, by metric object and by dict; draws random numbers in its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = torchmetrics.Accuracy('multiclass', num_classes=10)
        self.register_buffer('steps', torch.zeros(()))

    def training_step(self, batch, batch_idx):
        x, y = batch
        scores = self.model(x + 0.1 * torch.randn_like(x) * np.random.rand())
        self.steps += 1
        self.accuracy.update(scores, y)
        self.log('train_loss', cross_entropy(scores, y), on_epoch=True)
        return {'loss': cross_entropy(scores, y)}

    def validation_step(self, batch, batch_idx):
        x, y = batch
        scores = self.model(x)
        self.accuracy.update(scores, y)
        self.log('val_acc', self.accuracy)
        self.log_dict({'val_loss': cross_entropy(scores, y), 'val_nan': math.nan}, prog_bar=True)


class Plain(User):
    """Draws nothing."""

    def training_step(self, batch, batch_idx):
        x, y = batch
        return cross_entropy(self.model(x), y)


IMAGES, LABELS = digits('train').tensors
HELDOUT = [(IMAGES[:40], LABELS[:40]), (IMAGES[40:50], LABELS[40:50])]
STATISTICS = [(IMAGES[i : i + 32], LABELS[i : i + 32]) for i in (100, 200, 300)]


@pytest.fixture(scope='module')
def trained():
    """A supernet whose weights and statistics are worth something."""
    torch.manual_seed(0)
    space = WidthMutator(bins=EqualBins(8)).mutate(Net(), example_input=(2, 1, 8, 8))
    optimizer, rng = torch.optim.SGD(space.parameters(), 0.1, momentum=0.9), np.random.default_rng(0)
    space.train()
    for step in range(30):
        widths = {g.label: int(rng.choice(g.choices)) for g in space.groups}
        space.activate(widths, LocallyFree(1).sample_all(space.groups, widths, rng))
        rows = slice(100 + 32 * (step % 10), 132 + 32 * (step % 10))
        optimizer.zero_grad()
        cross_entropy(space(IMAGES[rows]), LABELS[rows]).backward()
        optimizer.step()
    space.activate(space.full_widths)
    return space


@pytest.fixture(scope='module')
def make(trained):
    def make(user=None, kind=Scorer, **options):
        inner = User() if user is None else user
        inner.set_model(copy.deepcopy(trained))
        module = MinMinModule(inner, sharing=LocallyFree(2), channel_sets_per_step=2, seed=0)
        defaults = {
            'sharing': LocallyFree(2),
            'heldout': HELDOUT,
            'statistics': STATISTICS,
            'channel_sets_per_step': 2,
            'context': contextlib.nullcontext,
        }
        return kind(module, **{**defaults, **options})

    return make


def widths_of(scorer, number):
    rng = np.random.default_rng(number)
    return {group.label: int(rng.choice(group.choices[1:])) for group in scorer.space.groups}


def by_hand(scorer, widths, sets, statistics=STATISTICS, temperature=2):
    """Loss at a temperature and accuracy of a slim model whose statistics are re-estimated without any of our code."""
    slim = scorer.space.slim(widths, {label: torch.tensor(chosen) for label, chosen in sets.items()}).eval()
    if statistics:
        for norm in (slim.bn1, slim.bn2):
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None
        with torch.no_grad():
            for x, _ in statistics:
                slim(x)
        slim.eval()
    with torch.no_grad():
        x, y = (torch.cat(parts) for parts in zip(*HELDOUT))
        return float(cross_entropy(slim(x) / temperature, y)), float((slim(x).argmax(1) == y).float().mean())


@pytest.mark.parametrize('number', range(4))
def test_the_loss_is_that_of_a_slim_model_made_by_hand(make, number):
    scorer = make(Plain(), temperature=2)
    widths = widths_of(scorer, number)
    scored = scorer.score(widths)
    loss, _ = by_hand(scorer, widths, scored.channel_sets)
    assert scored.score == pytest.approx(loss, rel=1e-5)
    assert scored.widths == widths
    assert (scored.macs, scored.params) == (scorer.space.macs(widths), scorer.space.params(widths))
    without, _ = by_hand(scorer, widths, scored.channel_sets, statistics=[])
    assert abs(loss - without) > 1e-3  # re-estimation matters here


def test_without_re_estimation(make):
    scorer = make(Plain(), statistics=[], temperature=2)
    widths = widths_of(scorer, 0)
    scored = scorer.score(widths)
    assert scored.score == pytest.approx(by_hand(scorer, widths, scored.channel_sets, [])[0], rel=1e-5)


@pytest.mark.parametrize('number', range(3))
def test_a_metric_that_the_validation_step_logs(make, number):
    scorer = make(Plain(), score='val_acc')
    assert scorer.higher_is_better
    widths = widths_of(scorer, number)
    scored = scorer.score(widths)
    assert scored.score == pytest.approx(by_hand(scorer, widths, scored.channel_sets)[1])
    by_value = make(Plain(), score='val_loss', temperature=2)
    assert not by_value.higher_is_better
    scored = by_value.score(widths)
    # batches of 40 and 10 count by their samples
    assert scored.score == pytest.approx(by_hand(by_value, widths, scored.channel_sets)[0], rel=1e-5)


def test_the_accuracy_of_nnis_classification(make):
    scorer = make(ClassificationModule(num_classes=10), score='val_acc')
    widths = widths_of(scorer, 1)
    scored = scorer.score(widths)
    assert scored.score == pytest.approx(by_hand(scorer, widths, scored.channel_sets)[1])


def test_statistics_do_not_count_in_a_metric(make):
    # The training step of `User` updates the same metric object that its validation step logs.
    few, many = make(score='val_acc', statistics=STATISTICS[:1]), make(score='val_acc', statistics=STATISTICS[:1] * 9)
    widths = widths_of(few, 0)
    few.module.training_module.accuracy.update(
        torch.eye(10), torch.zeros(10, dtype=torch.long)
    )  # left over from training
    clean = make(score='val_acc', statistics=[])
    accuracy = clean.score(widths).score
    assert 0 <= accuracy <= 1
    assert round(accuracy * 50, 6) % 1 == 0  # a share of the 50 held-out samples
    for scorer in (few, many):
        score = scorer.score(widths).score * 50
        assert score == pytest.approx(round(score), abs=1e-4)


def test_processes_score_by_themselves(make):
    # A resumed search asks only some of the processes for a score: a metric that waits for the others would hang.
    def wait(*_, **__):
        raise AssertionError('asked the other processes')

    user = User()
    user.accuracy = torchmetrics.Accuracy('multiclass', num_classes=10)
    user.accuracy.distributed_available_fn, user.accuracy.dist_sync_fn = lambda: True, wait
    scorer = make(user, score='val_acc')
    assert 0 <= scorer.score(widths_of(scorer, 0)).score <= 1
    assert user.accuracy.sync_on_compute
    user.accuracy.update(torch.eye(10), torch.arange(10))
    with pytest.raises(AssertionError, match='asked'):
        user.accuracy.compute()


def test_an_unknown_metric(make):
    with pytest.raises(ValueError, match=r"score='val_f1': .* It logs val_acc, val_loss, val_nan"):
        make(score='val_f1').score(widths_of(make(), 0))

    class Silent(User):
        def validation_step(self, batch, batch_idx):
            pass

    with pytest.raises(ValueError, match='It logs nothing'):
        make(Silent(), score='val_acc').score(widths_of(make(), 0))


@pytest.mark.parametrize('score', ['loss', 'val_acc'])
def test_a_score_depends_on_nothing_that_was_scored_before(make, score):
    first = make(score=score)
    candidates = [widths_of(first, number) for number in range(4)]
    expected = [first.score(widths) for widths in candidates]
    assert [first.score(widths) for widths in candidates] == expected  # again, bit for bit
    for order in ((3, 2, 1, 0), (1, 3, 0, 2)):
        other = make(score=score)
        torch.manual_seed(sum(order) + order[0])
        np.random.seed(order[0])
        found = {}
        for index in order:
            torch.rand(3)
            found[index] = other.score(candidates[index])
        assert [found[index] for index in range(4)] == expected


def test_the_seed_counts(make):
    widths = widths_of(make(), 0)
    scores = {make(seed=seed, channel_sets_per_step=4).score(widths).scores for seed in range(3)}
    assert len(scores) == 3


def test_scoring_leaves_the_supernet_as_it_was(make):
    scorer = make(score='val_acc')
    module = scorer.module
    module.training_module.accuracy.update(torch.eye(10), torch.arange(10))
    before = copy.deepcopy(module.state_dict())
    momenta = [m.momentum for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    log = module.training_module.log
    rng = copy.deepcopy(module.rng.bit_generator.state)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for number in range(3):
        scored = scorer.score(widths_of(scorer, number))
    scorer.slim(scored)
    assert torch.equal(torch.rand(2), expected)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    assert [m.momentum for m in module.modules() if isinstance(m, nn.BatchNorm2d)] == momenta
    assert module.training_module.log == log
    assert float(module.training_module.accuracy.compute()) == 1
    assert module.rng.bit_generator.state == rng
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize('statistics', [STATISTICS, []], ids=['re-estimated', 'as trained'])
def test_the_slim_model_has_the_recorded_score(make, statistics):
    scorer = make(Plain(), statistics=statistics, channel_sets_per_step=1, temperature=2)
    for number in range(3):
        scored = scorer.score(widths_of(scorer, number))
        slim = scorer.slim(scored).eval()
        with torch.no_grad():
            x, y = (torch.cat(parts) for parts in zip(*HELDOUT))
            losses = {each: float(cross_entropy(slim(x) / each, y)) for each in (1, 2, 3)}
        assert scored.score == pytest.approx(losses[2], abs=1e-5)
        assert scored.temperature == 2
        assert scored.by_temperature == pytest.approx({1: losses[1], 2: losses[2], 3: losses[3]}, abs=1e-5)
        assert sum(p.numel() for p in slim.parameters()) == scored.params
        assert not any('nni_cafenet' in type(m).__module__ for m in slim.modules())


def test_the_best_channel_set_stands_for_the_width(make):
    scorer = make(Plain(), channel_sets_per_step=5, temperature=2)
    better = 0
    for number in range(4):
        widths = widths_of(scorer, number)
        scored = scorer.score(widths)
        sets = [scorer._channel_sets(widths)[i] for i in range(len(scored.scores))]
        assert all(sets[0][label].tolist() == list(range(width)) for label, width in widths.items())
        keys = {str({label: chosen.tolist() for label, chosen in each.items()}) for each in sets}
        assert len(keys) == len(sets) <= 5  # none twice
        losses = [by_hand(scorer, widths, {k: v.tolist() for k, v in each.items()})[0] for each in sets]
        assert scored.scores == pytest.approx(losses, rel=1e-5)
        assert scored.score == min(scored.scores)
        winner = scored.scores.index(scored.score)
        assert scored.channel_sets == {label: chosen.tolist() for label, chosen in sets[winner].items()}
        better += winner > 0
    assert better > 0


def test_a_higher_score_can_be_better(make):
    scorer = make(score='val_loss', higher_is_better=True, channel_sets_per_step=4)
    scored = scorer.score(widths_of(scorer, 0))
    assert scored.score == max(scored.scores) > min(scored.scores)


def test_fixed_sharing_has_one_channel_set(make):
    scorer = make(sharing=Fixed(), channel_sets_per_step=4)
    assert len(scorer.score(widths_of(scorer, 0)).scores) == 1
    assert len(make(channel_sets_per_step=1).score(widths_of(scorer, 0)).scores) == 1


def test_nan_in_one_channel_set_loses_and_in_all_is_recorded(make):
    class Sick(Plain):
        def __init__(self, sick):
            super().__init__()
            self.sick, self.calls = sick, itertools.count()

        def training_step(self, batch, batch_idx):
            call = next(self.calls)
            return super().training_step(batch, batch_idx) * (math.nan if self.sick(call) else 1)

    user = Sick(lambda call: False)
    scorer = make(user, statistics=[], temperature=2)
    assert scorer.temperature == 2
    user.calls, user.sick = itertools.count(), lambda call: call < 6  # two batches, three temperatures: a channel set
    scored = scorer.score(widths_of(scorer, 0))
    assert math.isnan(scored.scores[0])
    assert scored.score == scored.scores[1]
    scored = make(Sick(lambda call: True), statistics=[]).score(widths_of(scorer, 0))
    assert math.isnan(scored.score)
    assert scored.to_json()['score'] is None


def test_batches_that_the_step_skips(make):
    class Skipping(Plain):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) if len(batch[0]) == 40 else None

    scorer = make(Skipping(), statistics=[])
    scored = scorer.score(widths_of(scorer, 0))
    only = make(Plain(), statistics=[], heldout=HELDOUT[:1]).score(widths_of(scorer, 0))
    assert scored.score == pytest.approx(only.score, rel=1e-6)

    class Never(Plain):
        def training_step(self, batch, batch_idx):
            return None

    scored = make(Never(), statistics=[]).score(widths_of(scorer, 0))
    assert math.isnan(scored.score)
    assert type(scored).from_json(scored.to_json()).by_temperature == {}


def test_the_context_is_entered_for_every_step(make):
    dtypes = []

    class Watching(Plain):
        def training_step(self, batch, batch_idx):
            dtypes.append(self.model(batch[0]).dtype)
            return super().training_step(batch, batch_idx)

    scorer = make(Watching(), context=lambda: torch.autocast('cpu', torch.bfloat16), temperature=2)
    scorer.score(widths_of(scorer, 0))
    assert set(dtypes) == {torch.bfloat16}
    assert scorer.temperature == 2
    assert len(dtypes) == 1 + 4 + 2 * (len(STATISTICS) + 3 * len(HELDOUT))  # a look at the loss; two channel sets


def test_an_error_in_a_step_leaves_everything_in_order(make):
    class Failing(Plain):
        def training_step(self, batch, batch_idx):
            raise KeyError('user')

    scorer = make(Failing())
    before = copy.deepcopy(scorer.module.state_dict())
    with pytest.raises(KeyError, match='user'):
        scorer.score(widths_of(scorer, 0))
    torch.testing.assert_close(scorer.module.state_dict(), before, rtol=0, atol=0)
    scorer.space.activate(scorer.space.full_widths)
    scorer.space.eval()(IMAGES[:2])


# --- the slow way: every step whole, every call on freshly swapped tensors, every loss read at once ---------------------


class SlowScorer(Scorer):
    """What the fast scorer must agree with, bit for bit."""

    @contextlib.contextmanager
    def _prepared(self, widths, channel_sets, *, statistics):
        inner, space = self.module.training_module, self.space
        slim = space.slim(widths, channel_sets)
        tensors = {**dict(slim.named_parameters()), **dict(slim.named_buffers())}
        space.activate(widths, channel_sets)
        effects = SideEffects(inner)
        metrics = [module for module in inner.modules() if isinstance(module, torchmetrics.Metric)]
        space.forward = lambda *args: functional_call(space.full_model, tensors, args)
        try:
            with seeded(self.seed), torch.no_grad():
                self.module.eval()
                estimate_statistics(space, tensors, statistics, self._whole_step)
                for metric in metrics:
                    metric.reset()
                yield tensors
        finally:
            del space.forward
            effects.restore()

    def _whole_step(self, batch, index=0):
        inner = self.module.training_module
        with self.context(), mock.patch.object(inner, 'log', return_value=None):
            return inner.training_step(batch, index)

    def _losses(self):
        space = self.space
        forward, random, at, parts = space.forward, random_state(), {}, {}
        first, *others = self._temperatures
        for temperature in [*others, first]:  # a step's effects are those at the first temperature
            load_random_state(random)
            if isinstance(self._logits, Logits):
                space.forward = lambda *args, by=temperature: forward(*args) / by
            losses = [float(loss_of(self._whole_step(batch, index))) for index, batch in enumerate(self.heldout)]
            at[temperature] = sum(loss * len(labels) for loss, (_, labels) in zip(losses, self.heldout)) / 50
            parts[temperature] = tuple(losses)  # so few batches are a part each
        space.forward = forward
        return self._set_score(at, parts.__getitem__)


class Drawing(nn.CrossEntropyLoss):
    """A user's own loss: what it draws moves all that is drawn later."""

    def forward(self, scores, target):
        return super().forward(scores + 0.1 * torch.randn_like(scores), target)


class Weighted(ClassificationModule):
    """NNI's class with a step of the user's own, which calls the model twice."""

    def training_step(self, batch, batch_idx):
        x, y = batch
        self(x.flip(-1))
        return super().training_step((x, y), batch_idx)


class Noisy(ClassificationModule):
    """NNI's step, and a forward of the user's own."""

    def forward(self, x):
        self.log('mean', x.mean())
        return super().forward(x + 0.1 * torch.randn_like(x))


USERS = {
    'own steps': User,
    'a plain step': Plain,
    'classification': lambda: ClassificationModule(num_classes=10),
    'classification with a loss that draws': lambda: ClassificationModule(criterion=Drawing, num_classes=10),
    'classification with an own step': lambda: Weighted(num_classes=10),
    'classification with an own forward': lambda: Noisy(num_classes=10),
}


def state_of(module):
    """All that a score might leave behind."""
    metrics = [each for each in module.modules() if isinstance(each, torchmetrics.Metric)]
    accumulated = [{name: copy.deepcopy(getattr(metric, name)) for name in metric._defaults} for metric in metrics]
    return copy.deepcopy(module.state_dict()), accumulated, [metric._update_count for metric in metrics]


@pytest.mark.parametrize('score', ['loss', 'val_acc'])
@pytest.mark.parametrize('user', USERS)
@settings(max_examples=3, phases=set(Phase) - {Phase.shrink, Phase.explain})  # a smaller seed would explain nothing
@given(number=st.integers(0, 10**6))
def test_a_score_is_that_of_the_slow_way_bit_for_bit(make, user, score, number):
    fast, slow = make(USERS[user](), score=score), make(USERS[user](), kind=SlowScorer, score=score)
    widths, before = widths_of(fast, number), state_of(fast.module)
    assert fast.score(widths) == slow.score(widths)
    torch.testing.assert_close(state_of(fast.module), before, rtol=0, atol=0)
    calls = 2 if user == 'classification with an own step' else 1
    for sets in fast._channel_sets(widths):
        prepared = [each._prepared(widths, sets, statistics=STATISTICS) for each in (fast, slow)]
        with prepared[0] as ours, prepared[1] as theirs:
            assert int(ours['bn1.num_batches_tracked']) == calls * len(STATISTICS)
            assert all(torch.equal(ours[name], theirs[name]) for name, _ in fast.space.named_buffers())


@pytest.mark.parametrize(
    ('user', 'losses', 'metrics'),
    [
        ('classification', 3 * len(HELDOUT), 0),
        ('classification with an own step', len(STATISTICS) + 3 * len(HELDOUT), len(STATISTICS) + 3 * len(HELDOUT)),
    ],
)
def test_what_a_score_does_not_need_is_left_out_where_the_step_is_that_of_nni(make, user, losses, metrics):
    scorer, seen = make(USERS[user](), channel_sets_per_step=1, temperature=2), {'loss': 0, 'metric': 0}

    def count(name):
        return lambda *_: seen.update({name: seen[name] + 1})

    inner = scorer.module.training_module
    inner.criterion.register_forward_pre_hook(count('loss'))
    inner.metrics['acc'].register_forward_pre_hook(count('metric'))
    assert scorer.temperature == 2
    seen.update(loss=0, metric=0)
    scorer.score(widths_of(scorer, 0))
    assert seen == {'loss': losses, 'metric': metrics}


def test_a_loss_that_a_step_writes_over_later_counts_as_it_was(make):
    class Reusing(Plain):
        def __init__(self):
            super().__init__()
            self.last = torch.zeros(())

        def training_step(self, batch, batch_idx):
            return self.last.copy_(super().training_step(batch, batch_idx))

    widths = widths_of(make(), 0)
    assert make(Reusing()).score(widths) == make(Plain()).score(widths)


@pytest.mark.parametrize(
    ('name', 'higher'),
    [('loss', False), ('val_loss', False), ('val_acc', True), ('top1_error', False), ('val_mAP', True), ('MAE', False)],
)
def test_which_way_a_metric_is_better(name, higher):
    assert better_when_higher(name) is higher


def test_the_size_of_a_batch():
    assert batch_size((torch.zeros(3, 2), torch.zeros(3))) == 3
    assert batch_size({'x': [torch.zeros(()), torch.zeros(5)]}) == 5
    assert batch_size('nothing') == 1
    assert batch_size([]) == 1
    pictures, boxes = [torch.zeros(3, 8, 8)] * 2, [{'boxes': torch.zeros(5, 4)}] * 2
    assert batch_size((pictures, boxes)) == 2


# --- temperature ----------------------------------------------------------------------------------


class Penalized(Plain):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) + self.model.fc.weight.square().sum()


@pytest.mark.parametrize('user', [Penalized, Plain])
def test_a_temperature_where_it_would_do_something_else_is_refused(make, user, caplog):
    score = 'loss' if user is Penalized else 'val_acc'
    caplog.set_level('INFO', logger='nni_cafenet')
    scorer = make(user(), score=score)
    scored = scorer.score(widths_of(scorer, 0))
    assert (scorer.temperature, scored.temperature, scored.by_temperature) == (1, 1, {})
    assert [each.getMessage()[:34] for each in caplog.records] == ['Scores are taken at temperature 1:']
    assert make(user(), score=score, temperature=1).score(widths_of(scorer, 0)) == scored
    with pytest.raises(
        ValueError, match=r'temperature=3: it divides the logits of a cross-entropy, and .*temperature=1'
    ):
        make(user(), score=score, temperature=3).score(widths_of(scorer, 0))


def test_every_temperature_gives_the_scores_of_all(make):
    scorers = {temperature: make(temperature=temperature) for temperature in (1, 2, 2.5, 3)}
    widths = widths_of(scorers[1], 0)
    found = {temperature: scorer.score(widths) for temperature, scorer in scorers.items()}
    for temperature, scored in found.items():
        assert (scored.temperature, scored.by_temperature[temperature]) == (temperature, scored.score)
        assert scored.by_temperature.keys() == {1, 2, 3, temperature}
        assert all(found[each].score == scored.by_temperature[each] for each in (1, 2, 3))
        assert type(scored).from_json(scored.to_json()) == scored


def test_a_temperature_leaves_no_trace(make):
    class Counting(User):
        """A step that counts, draws and keeps what it saw: what is repeated for a temperature must not show."""

        def __init__(self):
            super().__init__()
            self.seen = []

        def training_step(self, batch, batch_idx):
            self.seen.append(len(self.seen))
            return {'loss': cross_entropy(self.model(batch[0] + torch.randn(1) * len(self.seen)), batch[1])}

    scorers = {temperature: make(Counting(), temperature=temperature) for temperature in (1, 2)}
    user = scorers[2].module.training_module
    before = state_of(scorers[2].module)
    one, two = (scorers[each].score(widths_of(scorers[1], 0)) for each in (1, 2))
    assert one.by_temperature == two.by_temperature
    torch.testing.assert_close(state_of(scorers[2].module), before, rtol=0, atol=0)
    assert user.seen == []
    assert 'forward' not in vars(user.model)


def test_the_temperature_of_a_loss_that_validation_logs(make):
    scorer = make(score='val_loss', temperature=2)
    assert scorer.temperature == 2
    scored = scorer.score(widths_of(scorer, 0))
    assert scored.by_temperature.keys() == {1, 2, 3}
    assert scored.score == scored.by_temperature[2] != scored.by_temperature[1]


@pytest.mark.parametrize('score', ['loss', 'val_loss'])
def test_by_default_the_temperature_fits_each_width(make, score):
    scorer = make(Plain(), score=score, channel_sets_per_step=1)
    assert scorer.temperature is None
    for number in range(4):
        scored = scorer.score(widths_of(scorer, number))

        def loss(log, widths=scored.widths, sets=scored.channel_sets):
            return by_hand(scorer, widths, sets, temperature=math.exp(log))[0]

        best = minimize_scalar(loss, bounds=(math.log(0.125), math.log(8)), method='bounded')
        assert scored.score == pytest.approx(best.fun, abs=2e-3)
        assert math.log(scored.temperature) == pytest.approx(best.x, abs=0.05)
        assert scored.by_temperature.keys() == {1, 2, 3}
        assert scored.score <= min(scored.by_temperature.values()) + 2e-3
        assert sum(scored.parts) / len(scored.parts) == pytest.approx(scored.score, rel=0.2)
        assert type(scored).from_json(scored.to_json()) == scored


def test_the_scale_of_logits_does_not_count_by_default(make):
    def scaled(scale):
        scorer = make(Plain(), channel_sets_per_step=1)
        last = scorer.space.full_model.fc
        with torch.no_grad():
            last.weight.mul_(scale)
            last.bias.mul_(scale)
        return scorer

    widths = widths_of(make(), 0)
    scored = {scale: scaled(scale).score(widths) for scale in (0.7, 1, 1.7, 3)}
    for scale, each in scored.items():
        assert each.score == pytest.approx(scored[1].score, abs=1e-3)
        assert each.temperature == pytest.approx(scale * scored[1].temperature, rel=0.03)
    assert scored[0.7].by_temperature[1] != pytest.approx(scored[3].by_temperature[1], abs=5e-3)
