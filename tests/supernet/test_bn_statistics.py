from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.space.width_space import WidthSpace
from nni_cafenet.supernet.bn_statistics import estimate_statistics, frozen_norms


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.bn = nn.BatchNorm2d(3, momentum=0.3)
        self.drop = nn.Dropout(0.5)
        self.plain = nn.BatchNorm2d(3, track_running_stats=False)
        self.norm = nn.GroupNorm(1, 3)

    def forward(self, x):
        return self.norm(self.plain(self.drop(self.bn(self.conv(x)))))


def tensors_of(model):
    return {**dict(model.named_parameters()), **{name: b.clone() for name, b in model.named_buffers()}}


def estimate(model, tensors, batches):
    estimate_statistics(model, tensors, batches, lambda x: torch.func.functional_call(model, tensors, x))


def test_statistics_are_the_plain_average_over_batches():
    torch.manual_seed(0)
    model, batches = Net(), [torch.randn(n, 2, 4, 4) + n for n in (2, 5, 3)]
    with torch.no_grad():
        model.bn.running_mean.fill_(7)
        model.bn.running_var.fill_(9)
    tensors = tensors_of(model)
    model.train()
    estimate(model, tensors, batches)
    outputs = [model.conv(x).transpose(0, 1).flatten(1) for x in batches]
    # every batch counts the same, whatever its size; variances are unbiased
    mean = torch.stack([y.mean(1) for y in outputs]).mean(0)
    var = torch.stack([y.var(1) for y in outputs]).mean(0)
    torch.testing.assert_close(tensors['bn.running_mean'], mean)
    torch.testing.assert_close(tensors['bn.running_var'], var)
    assert int(tensors['bn.num_batches_tracked']) == 3


def test_the_model_itself_is_not_touched():
    model = Net().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    tensors = tensors_of(model)
    estimate(model, tensors, [torch.randn(4, 2, 3, 3)])
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert model.bn.momentum == 0.3
    assert not any(module.training for module in model.modules())


def test_nothing_else_is_in_training_mode_meanwhile():
    model, modes = Net(), []

    def run(x):
        modes.append({name: module.training for name, module in model.named_modules()})

    estimate_statistics(model, tensors_of(model), [None], run)
    (mode,) = modes
    assert [name for name, training in mode.items() if training] == ['bn']


def test_without_batches_nothing_happens():
    model = Net().train()
    tensors = tensors_of(model)
    before = {name: value.clone() for name, value in tensors.items()}
    estimate(model, tensors, [])
    assert all(torch.equal(before[name], tensors[name]) for name in before)
    assert not model.training


def test_a_model_that_is_a_normalization():
    model = nn.BatchNorm1d(2)
    tensors = tensors_of(model)
    estimate(model, tensors, [torch.tensor([[1.0, 2.0], [3.0, 6.0]])])
    assert tensors['running_mean'].tolist() == [2, 4]
    assert tensors['running_var'].tolist() == [2, 8]


def test_an_error_leaves_momentum_and_mode_in_order():
    model = Net()

    def fail(batch):
        raise KeyError

    with pytest.raises(KeyError):
        estimate_statistics(model, tensors_of(model), [None], fail)
    assert model.bn.momentum == 0.3
    assert not model.bn.training


class HoldsNorm(Net):
    """Freezes its normalization as fine-tuning does: its own train() leaves it in evaluation mode."""

    def train(self, mode=True):
        super().train(mode)
        self.bn.eval()
        return self


def one_in_eval():
    model = Net().train()
    model.bn.eval()
    return model


@pytest.mark.parametrize('make', [lambda: HoldsNorm().train(), lambda: HoldsNorm().eval(), one_in_eval])
def test_normalizations_that_their_user_froze_are_found(make):
    model = make()
    modes = [module.training for module in model.modules()]
    assert frozen_norms(model) == {'bn'}
    assert [module.training for module in model.modules()] == modes
    assert frozen_norms(Net()) == frozen_norms(Net().eval()) == frozenset()


@pytest.mark.parametrize('frozen', [(), ('bn',)])
def test_frozen_statistics_stay(frozen):
    model = Net()
    model.bn.momentum = 0.3 if frozen else 0.0
    tensors = tensors_of(model)
    estimate_statistics(
        model,
        tensors,
        [torch.randn(4, 2, 3, 3)],
        lambda x: torch.func.functional_call(model, tensors, x),
        frozen,
    )
    assert tensors['bn.running_mean'].tolist() == [0, 0, 0]
    assert tensors['bn.running_var'].tolist() == [1, 1, 1]


def test_a_space_trains_in_the_modes_of_its_model():
    class Root(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    space = WidthSpace(Root(nn.Conv2d(2, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)), example_input=(2, 2, 3, 3))
    space.train()
    assert space.training
    assert space.full_model.training
    assert not space.full_model[1].training
    assert frozen_norms(space) == {'1'}
