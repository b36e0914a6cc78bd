"""Training steps with several widths, other combinations and distillation, beside plain loops."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import nn
from torch.nn.functional import cross_entropy

from nni_cafenet import Bilateral, EqualBins, LocallyFree, Sandwich, SoftMin, UniformWidths, WidthMutator
from nni_cafenet.errors import TrainingDivergedError
from nni_cafenet.supernet.combination import Mean, Min
from nni_cafenet.supernet.divergence import AlphaDivergence, KLDivergence
from nni_cafenet.supernet.lightning_module import MinMinModule
from nni_cafenet.supernet.sharing import distinct
from nni_cafenet.supernet.training_options import TrainingOptions
from nni_cafenet.testing import digits

IMAGES, LABELS = digits('train').tensors
BATCH = IMAGES[:32], LABELS[:32]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(8, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


class User(LightningModule):
    def __init__(self):
        super().__init__()
        self.count, self.scale, self.as_dict = 0, 1.0, False

    def training_step(self, batch, batch_idx):
        self.count += 1
        self.log('train_loss', loss := cross_entropy(self.model(batch[0]), batch[1]) * self.scale)
        return {'loss': loss, 'extra': 3} if self.as_dict else loss


@pytest.fixture(scope='module')
def template():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(8), verify=False).mutate(Net(), example_input=(2, 1, 8, 8))


@pytest.fixture
def make(template):
    def make(sharing=None, channel_sets_per_step=2, **options):
        user = User()
        user.set_model(copy.deepcopy(template))
        module = MinMinModule(
            user,
            sharing=sharing or LocallyFree(2),
            channel_sets_per_step=channel_sets_per_step,
            seed=0,
            options=TrainingOptions(**options),
        )
        module.trainer = SimpleNamespace(
            strategy=SimpleNamespace(reduce=lambda value, reduce_op: value), global_step=7, world_size=1
        )
        logs = []
        module.__dict__['logs'] = logs
        module.log = user.log = lambda name, value, **_: logs.append((name, float(value)))
        module.train()
        return module

    return make


def drawn_by(module):
    """What a step draws next: widths, and the channel sets of each."""
    rng = copy.deepcopy(module.rng)
    widths = module.options.sampling.draw(module.space, rng)
    groups = module.space.groups
    return widths, [
        distinct(module.sharing.sample_several(groups, each, module.channel_sets_per_step, rng)) for each in widths
    ]


def forward(module, widths, sets):
    """Logits of a channel set, as a step of its own with the random numbers of a step."""
    module.space.activate(widths, sets)
    torch.manual_seed(1)
    return module.space(BATCH[0])


def gradients(module):
    return {name: p.grad.clone() for name, p in module.space.named_parameters()}


def assert_step_is(module, loss_of_loop):
    """Hold a step of a module against a plain loop: loss, gradients, random numbers."""
    loop = copy.deepcopy(module)
    widths, sets = drawn_by(module)
    torch.manual_seed(1)
    output = module.training_step(BATCH, 0)
    after = torch.get_rng_state()
    loss = output['loss'] if isinstance(output, dict) else output
    loss.backward()

    expected = loss_of_loop(loop, widths, sets)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    theirs = gradients(loop)
    for name, gradient in gradients(module).items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-6, msg=name)
    forward(loop, widths[0], sets[0][0])
    assert torch.equal(after, torch.get_rng_state())  # as after one forward
    return output


def plain_loss(module, widths, sets):
    return cross_entropy(forward(module, widths, sets), BATCH[1])


def of_sets(combination, module, widths, sets):
    """The combined loss of the channel sets of a width."""
    losses = [plain_loss(module, widths, each) for each in sets]
    if isinstance(combination, Min):
        return min(losses, key=float)
    if isinstance(combination, Mean):
        return sum(losses) / len(losses)
    t = combination.temperature
    shares = torch.softmax(torch.stack(losses).detach() / -t, 0)
    return sum(share * loss for share, loss in zip(shares, losses))


@pytest.mark.parametrize('combination', [Min(), Mean(), SoftMin(0.05)])
@pytest.mark.parametrize('per_step', [1, 2, 4])
def test_widths_a_step_and_combinations(make, combination, per_step):
    module = make(channel_sets_per_step=3, sampling=UniformWidths(per_step), combine=combination)
    for _ in range(2):
        module.zero_grad()
        assert_step_is(
            module,
            lambda loop, widths, sets: sum(of_sets(combination, loop, *each) for each in zip(widths, sets)) / per_step,
        )


def test_the_gradient_of_a_soft_minimum_is_that_of_its_definition(make):
    module = make(channel_sets_per_step=3, combine=SoftMin(0.2))
    loop = copy.deepcopy(module)
    widths, sets = drawn_by(module)
    torch.manual_seed(1)
    module.training_step(BATCH, 0).backward()
    losses = torch.stack([plain_loss(loop, widths[0], each) for each in sets[0]])
    (-0.2 * torch.logsumexp(-losses / 0.2, 0)).backward()
    theirs = gradients(loop)
    for name, gradient in gradients(module).items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize('divergence', [None, KLDivergence(), AlphaDivergence()])
def test_a_sandwich_and_distillation(make, divergence):
    def loop(module, widths, sets):
        full, *others = zip(widths, sets)
        logits = forward(module, full[0], full[1][0])
        losses = [cross_entropy(logits, BATCH[1])]
        for each, own in others:
            if divergence is None:
                losses.append(of_sets(Min(), module, each, own))
            else:
                found = [divergence.between(forward(module, each, s), logits) for s in own]
                losses.append(min(found, key=float))
        return sum(losses) / len(losses)

    module = make(sharing=Bilateral(), sampling=Sandwich(between=1), distill=divergence)
    assert_step_is(module, loop)


def test_logs_and_side_effects_are_those_of_the_first_width(make):
    module = make(sampling=UniformWidths(3), channel_sets_per_step=2)
    module.training_module.as_dict = True
    alone = copy.deepcopy(module)
    widths, sets = drawn_by(module)
    torch.manual_seed(1)
    output = module.training_step(BATCH, 0)
    assert output['extra'] == 3
    assert module.training_module.count == 1
    best = min((plain_loss(alone, widths[0], each) for each in sets[0]), key=float)
    train = [value for name, value in module.logs if name == 'train_loss']
    assert train == [pytest.approx(float(best), rel=1e-5)]
    assert dict(module.logs)['cafenet/loss'] == pytest.approx(float(output['loss']), rel=1e-5)
    statistics = {name: buffer.clone() for name, buffer in module.space.named_buffers()}
    winner = min(sets[0], key=lambda each: float(plain_loss(alone, widths[0], each)))
    fresh = make(channel_sets_per_step=1)
    forward(fresh, widths[0], winner)
    for name, buffer in fresh.space.named_buffers():
        torch.testing.assert_close(statistics[name], buffer, msg=name)


def test_diverged_and_skipped_steps(make):
    module = make(sampling=UniformWidths(2), combine=Mean())
    module.training_module.scale = math.nan
    with pytest.raises(TrainingDivergedError, match='is not a number'):
        module.training_step(BATCH, 0)
    module = make(sampling=Sandwich(), distill=KLDivergence())
    module.training_module.training_step = lambda batch, batch_idx: None
    assert module.training_step(BATCH, 0) is None


def test_a_step_that_does_not_call_the_model_cannot_be_distilled(make):
    module = make(sampling=Sandwich(), distill=KLDivergence())
    module.training_module.training_step = lambda batch, batch_idx: torch.zeros((), requires_grad=True)
    with pytest.raises(TypeError, match='distill: the training step does not call the model'):
        module.training_step(BATCH, 0)


def test_options():
    def checked(**options):
        given = {'width_sampling': None, 'combine': 'min', 'distill': None, 'ema': None, 'budget': '50%', **options}
        return TrainingOptions.checked(**given)

    assert checked() == TrainingOptions()
    assert checked(width_sampling=Sandwich(), distill='kl').distill == KLDivergence()
    assert checked(width_sampling=Sandwich(), distill='alpha').distill == AlphaDivergence()
    with pytest.raises(TypeError, match='width_sampling=3'):
        checked(width_sampling=3)
    with pytest.raises(ValueError, match="distill='kl' needs the full network"):
        checked(distill='kl')
    for wrong in ('l2', 3):
        with pytest.raises(ValueError, match='distill='):
            checked(width_sampling=Sandwich(), distill=wrong)
    for wrong in (0.0, 1.0, 1, 'a', np.nan):
        with pytest.raises(ValueError, match='ema='):
            checked(ema=wrong)
