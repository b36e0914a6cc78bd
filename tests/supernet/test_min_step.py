from __future__ import annotations

import copy
import itertools
import math
import weakref

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given, settings, strategies as st
from nni.nas.evaluator.pytorch import LightningModule
from torch import nn
from torch.nn.functional import cross_entropy

from nni_cafenet import EqualBins, LocallyFree, WidthMutator
from nni_cafenet.supernet.graph_memory import GraphMemory
from nni_cafenet.supernet.min_step import MinStep, StepFunctions

MEMORY = ['fast', 'lean']
X = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 5


class Net(nn.Module):
    def __init__(self, attention: bool = False) -> None:
        super().__init__()
        width = 6
        self.conv1, self.bn = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3)
        self.attention = nn.MultiheadAttention(width, 1, batch_first=True) if attention else None
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(width, 5)
        self.keep = False

    def forward(self, x):
        x = self.conv2(self.bn(self.conv1(x)).relu()).relu()
        if self.keep:
            self.features = x
        if self.attention is not None:
            x = x.flatten(2).transpose(1, 2)
            x = x + self.attention(x, x, x, need_weights=False)[0]
            return self.fc(self.dropout(x.mean(1)))
        return self.fc(self.dropout(x.mean((2, 3))))


class User(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.accuracy = torchmetrics.Accuracy('multiclass', num_classes=5)
        self.mean = torchmetrics.MeanMetric()
        self.losses, self.seen = [], 0

    def training_step(self, batch, batch_idx):
        x, y = batch
        scores = self.model(x + 0.1 * torch.randn_like(x))
        loss = cross_entropy(scores, y)
        self.mean.update(loss)
        self.accuracy(scores, y)
        self.log('loss', loss)
        self.losses.append(loss)
        self.seen += len(x)
        return {'loss': loss, 'scores': scores}


@pytest.fixture(scope='module')
def template():
    """``template(attention=..., dropout=..., keep=...)``: a supernet, always with the same weights."""
    spaces = {}

    def make(attention=False, dropout=0.3, keep=False):
        if attention not in spaces:
            torch.manual_seed(0)
            mutator = WidthMutator(bins=EqualBins(6), verify=False)
            spaces[attention] = mutator.mutate(Net(attention), example_input=(2, 3, 6, 6))
        space = copy.deepcopy(spaces[attention]).train()
        space.full_model.keep, space.full_model.dropout.p = keep, dropout
        return space

    return make


def sets_of(space, number, seed=0):
    """Widths and different channel sets of them."""
    rng = np.random.default_rng(seed)
    while True:
        widths = {g.label: int(rng.choice(g.choices)) for g in space.groups}
        sets = [LocallyFree(3).sample_all(space.groups, widths, rng) for _ in range(number)]
        if len({str(each) for each in sets}) == number:
            return widths, sets


class Contest:
    """A user's module, and a step of it with several channel sets."""

    def __init__(self, space, memory, user=None, room=None):
        self.user = User() if user is None else user
        self.user.set_model(space)
        self.user.train()
        self.user.log = lambda *args, **kwargs: None
        self.room = GraphMemory(memory) if room is None else room
        self.best_of = MinStep(self.user, self.room)
        self.runs = 0

    def __call__(self, number, *, seed=0, step=None):
        widths, sets = sets_of(self.user.model, number, seed)

        def run():
            self.runs += 1
            return (step or self.user.training_step)((X, Y), 0)

        def loss(output):
            return (
                math.nan if output is None else float((output['loss'] if isinstance(output, dict) else output).detach())
            )

        activate = lambda chosen: self.user.model.activate(widths, chosen)  # noqa: E731
        return self.best_of(sets, StepFunctions(activate, run, loss, torch.device('cpu')))

    def state(self):
        """All that a step may change, and the random numbers that come next."""
        user = self.user
        return {
            'buffers': {name: buffer.clone() for name, buffer in user.named_buffers()},
            'gradients': {name: p.grad for name, p in user.named_parameters()},
            'metrics': [user.mean.compute(), user.accuracy.compute(), torch.tensor(user.mean.update_count)],
            'attributes': [*map(torch.Tensor.detach, user.losses), torch.tensor(user.seen)],
            'draws': torch.rand(3),
        }


def outcome(contest, steps=2, number=3, seed=0, context=torch.enable_grad):
    """What some steps in a row leave behind."""
    torch.manual_seed(3)
    found = []
    for step in range(steps):
        with context():
            best, losses = contest(number, seed=seed + step)
        best.output['loss'].backward()
        logged = [args[1].detach() for args, _ in best.logs.calls]
        found.append((losses, best.loss, logged, best.output['scores'].detach()))
    return found, contest.state()


# --- both ways do the same ----------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    dropout=st.sampled_from([0.0, 0.5]),
    number=st.integers(2, 5),
    seed=st.integers(0, 1000),
    keep=st.booleans(),
    attention=st.booleans(),
)
def test_the_same_results_with_one_graph_as_with_two(template, dropout, number, seed, keep, attention):
    options = {'dropout': dropout, 'keep': keep, 'attention': attention}
    fast, lean = (outcome(Contest(template(**options), memory), number=number, seed=seed) for memory in MEMORY)
    rounding = {'rtol': 1e-5, 'atol': 1e-6} if attention else {'rtol': 0, 'atol': 0}
    for (ours, *rest), (theirs, *others) in zip(fast[0], lean[0]):
        torch.testing.assert_close(ours, theirs, **rounding)  # of the losers: without a graph
        torch.testing.assert_close(rest, others, rtol=0, atol=0)
    torch.testing.assert_close(fast[1], lean[1], rtol=0, atol=0)


def test_the_same_results_in_automatic_mixed_precision(template):
    context = lambda: torch.autocast('cpu', torch.bfloat16)  # noqa: E731 - keeps casts of weights from run to run
    fast, lean = (outcome(Contest(template(), memory), context=context) for memory in MEMORY)
    torch.testing.assert_close(fast, lean, rtol=0, atol=0)
    assert fast[0][0][3].dtype == torch.bfloat16
    assert all(float(gradient.abs().sum()) > 0 for gradient in lean[1]['gradients'].values())


def test_accumulated_gradients_are_the_same(template):
    ends = []
    for memory in MEMORY:
        contest = Contest(template(), memory)
        outcome(contest, steps=4)
        ends.append([p.grad for p in contest.user.parameters()])
    torch.testing.assert_close(*ends, rtol=0, atol=0)


@pytest.mark.parametrize('memory', MEMORY)
def test_how_often_the_step_is_run(template, memory):
    contest = Contest(template(dropout=0.0), memory)
    again = 0
    for seed in range(12):
        contest.runs = 0
        best, losses = contest(3, seed=seed)
        last = losses.index(min(losses)) == 2
        again += not last
        assert contest.runs == (3 if memory == 'fast' or last else 4)
        assert best.loss == min(losses)
    assert 0 < again < 12


# --- graphs -------------------------------------------------------------------------------------------


class Graphs:
    """Counts the graphs whose saved tensors are alive: at the start and at the end of each run."""

    def __init__(self):
        self.run, self.most, self._saved = 0, 0, weakref.WeakKeyDictionary()

    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor.detach()  # an output would hold its own graph

    def pack(self, tensor):
        saved = self.Saved(tensor)
        self._saved[saved] = self.run
        return saved

    def alive(self):
        return len(set(self._saved.values()))

    def watch(self, step):
        def watched(batch, index):
            self.run += 1
            with torch.autograd.graph.saved_tensors_hooks(self.pack, lambda saved: saved.tensor):
                output = step(batch, index)
            self.most = max(self.most, self.alive())
            return output

        return watched


@pytest.mark.parametrize('keep', [False, True])
@pytest.mark.parametrize(('memory', 'most'), [('fast', 2), ('lean', 1)])
def test_how_many_graphs_are_alive(template, memory, most, keep):
    for seed in range(4):
        contest, graphs = Contest(template(keep=keep), memory), Graphs()
        best, losses = contest(5, seed=seed, step=graphs.watch(contest.user.training_step))
        assert graphs.most == most
        assert graphs.alive() == 1
        if keep:  # what a layer kept is that of the winner, as if it had run alone
            assert len(contest.user.losses) == 1
            torch.testing.assert_close(contest.user.losses[0], best.output['loss'], rtol=0, atol=0)
            features = contest.user.model.full_model.features
            assert features.grad_fn is not None
            pooled = features.mean((2, 3))
            assert pooled.shape[1] == len(best.channel_sets[contest.user.model.labels[-1]])
        best.output['loss'].backward()


def test_a_step_that_differentiates_by_itself_has_a_graph_in_lean_mode_too(template):
    class Penalty(User):
        def training_step(self, batch, batch_idx):
            x = batch[0].clone().requires_grad_()
            scores = self.model(x)
            (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
            loss = cross_entropy(scores, batch[1]) + slope.square().mean()
            self.losses.append(loss)
            return {'loss': loss, 'scores': scores}

    graphs = Graphs()
    fast, lean = (Contest(template(), memory, Penalty()) for memory in MEMORY)
    lean.user.training_step = graphs.watch(lean.user.training_step)
    torch.testing.assert_close(outcome(fast)[0], outcome(lean)[0], rtol=0, atol=0)
    for ours, theirs in zip(fast.user.parameters(), lean.user.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)
    assert graphs.most == 1


@pytest.mark.parametrize('memory', MEMORY)
def test_an_error_of_the_step_arrives(template, memory):
    contest = Contest(template(), memory)
    with pytest.raises(KeyError, match='mine'):
        contest(3, step=lambda batch, index: {}['mine'])
    assert contest.user.log.__name__ == '<lambda>'


# --- room ---------------------------------------------------------------------------------------------


class Cramped(User):
    """Has no memory for some of its runs."""

    def __init__(self, *without):
        super().__init__()
        self.calls, self.without = itertools.count(), without

    def training_step(self, batch, batch_idx):
        output = super().training_step(batch, batch_idx)
        if next(self.calls) in self.without:
            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate\nmore')
        return output


class Wide(GraphMemory):
    """A room that only an error closes."""

    def is_short(self, device):
        return False


@pytest.mark.parametrize('which', [1, 2])
def test_where_memory_runs_out_it_goes_on_with_one_graph(template, which):
    expected = outcome(Contest(template(), 'fast'))
    contest = Contest(template(), 'auto', Cramped(which), room=Wide('auto'))
    found = outcome(contest)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not contest.room.keeps_two


@pytest.mark.parametrize(('memory', 'which'), [('auto', 0), ('fast', 1), ('lean', 0)])
def test_where_nothing_can_be_given_up_the_error_arrives(template, memory, which):
    contest = Contest(template(), memory, Cramped(which), room=Wide(memory))
    with pytest.raises(torch.OutOfMemoryError):
        contest(3)


def test_the_first_graph_of_a_step_tells_that_there_is_no_room(template):
    class Short(GraphMemory):
        def is_short(self, device):
            return True

    graphs = Graphs()
    contest = Contest(template(), 'auto', room=Short('auto'))
    contest.user.training_step = graphs.watch(contest.user.training_step)
    torch.testing.assert_close(outcome(contest), outcome(Contest(template(), 'fast')), rtol=0, atol=0)
    assert graphs.most == 1
