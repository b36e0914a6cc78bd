"""The supernet at work, in ways that other tests do not come to."""

from __future__ import annotations

import copy
import importlib.util
import sys

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nni_cafenet import WidthSpace
from nni_cafenet.slicing import active_model

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
WIDTHS = {'a': 3, 'b': 5}


def network(net, x):
    return net.c(torch.relu(net.n(net.b(net.a(x)))).mean((2, 3)))


@pytest.fixture
def space(wired):
    model = wired(
        network,
        a=nn.Conv2d(3, 8, 3, padding=1),
        b=nn.Conv2d(8, 8, 3, padding=1),
        n=nn.BatchNorm2d(8),
        c=nn.Linear(8, 2),
    )
    space = WidthSpace(model, example_input=(2, 3, 8, 8), min_ratio=0)
    space.activate(WIDTHS)
    return space


def close(left, right):
    torch.testing.assert_close(left, right)


def test_modules_that_were_replaced(space):
    space.full_model.n = nn.BatchNorm2d(8)
    space.activate(WIDTHS)
    assert space.full_model.n.num_features == 5
    close(space(X), space.slim(WIDTHS)(X))


def test_parameters_that_were_replaced(space):
    space.load_state_dict({name: value + 1 for name, value in space.state_dict().items()}, assign=True)
    close(space(X), space.slim(WIDTHS)(X))


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_another_precision_after_a_step(space, dtype):
    space(X).sum().backward()
    space.zero_grad()
    space.to(dtype)
    space(X.to(dtype)).sum().backward()
    assert space.full_model.a.weight.grad.dtype == dtype


def test_layers_of_several_precisions(space):
    space.full_model.n.double()
    space.full_model.c.double()
    space.full_model.wiring = lambda net, x: net.c(net.n(net.b(net.a(x)).double()).mean((2, 3)))
    slim = space.slim(WIDTHS)
    close(space(X), slim(X))
    space(X).sum().backward()
    assert space.full_model.n.weight.grad.dtype == torch.float64
    assert space.full_model.b.bias.grad.dtype == torch.float32


def test_copies_run_by_themselves(space):
    space(X).sum().backward()
    other = copy.deepcopy(space)
    other.zero_grad()
    other(X).square().sum().backward()
    assert not torch.equal(other.full_model.a.weight.grad, space.full_model.a.weight.grad)
    assert (
        other.full_model.a.weight.grad.untyped_storage().data_ptr()
        != space.full_model.a.weight.grad.untyped_storage().data_ptr()
    )


def test_functions_of_torch_func(space):
    parameters = {name: parameter.detach() for name, parameter in space.named_parameters()}

    def loss(values):
        return torch.func.functional_call(space, values, (X,)).square().sum()

    found = torch.func.grad(loss)(parameters)
    space(X).square().sum().backward()
    for name, parameter in space.named_parameters():
        close(found[name], parameter.grad)


@pytest.mark.parametrize('scale', [1.0, float('inf')], ids=['steps', 'skipped step'])
def test_a_scaler_of_gradients(space, scale):
    scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    optimizer = torch.optim.SGD(space.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in space.parameters()]
    scaler.scale(space(X).sum() * scale).backward()
    scaler.step(optimizer)
    scaler.update()
    moved = any(not torch.equal(a, b) for a, b in zip(before, space.parameters()))
    assert moved == (scale == 1.0)
    assert scaler.get_scale() == (8.0 if scale == 1.0 else 4.0)


OPTIMIZERS = {
    'SGD': lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.1, nesterov=True),
    'SGD, foreach': lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.1, foreach=True),
    'Adam, maximizing': lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1, maximize=True),
    'AdamW, fused': lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    'Adagrad': lambda p: torch.optim.Adagrad(p, 0.01, weight_decay=0.1),
    'RMSprop': lambda p: torch.optim.RMSprop(p, 0.01, weight_decay=0.1),
    'Rprop': lambda p: torch.optim.Rprop(p, 0.01),
    'NAdam': lambda p: torch.optim.NAdam(p, 0.01),
    'LBFGS': lambda p: torch.optim.LBFGS(p, 0.01, max_iter=3),
}


@pytest.mark.parametrize('name', OPTIMIZERS)
@pytest.mark.parametrize('to_none', [True, False], ids=['to None', 'to zero'])
def test_optimizers_take_the_steps_of_the_slow_path(space, name, to_none, monkeypatch):
    slow = copy.deepcopy(space)
    monkeypatch.setattr('nni_cafenet.slicing.fast_step.autograd._SMALL_SIZE', 1)
    results = []
    for net, plain in ((space, False), (slow, True)):
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr(active_model, 'FastStep', None)
            optimizer = OPTIMIZERS[name](net.parameters())
            for step, widths in enumerate((WIDTHS, {'a': 5, 'b': 2}, {'a': 2, 'b': 8}, {'a': 3, 'b': 3})):
                net.activate(widths)

                def closure(net=net, optimizer=optimizer):
                    optimizer.zero_grad(set_to_none=to_none)
                    loss = net(X).square().sum()
                    loss.backward()
                    return loss

                if step == 2:  # accumulation
                    net(X).sum().backward()
                optimizer.step(closure)
        results.append(list(net.state_dict().values()))
    for ours, expected in zip(*results):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_several_calls_in_one_graph(space, monkeypatch):
    slow = copy.deepcopy(space)
    monkeypatch.setattr('nni_cafenet.slicing.fast_step.autograd._SMALL_SIZE', 1)
    for widths in (WIDTHS, {'a': 5, 'b': 2}, {'a': 2, 'b': 8}):
        for net, plain in ((space, False), (slow, True)):
            with monkeypatch.context() as patch:
                if plain:
                    patch.setattr(active_model, 'FastStep', None)
                net.zero_grad()
                net.activate(widths)
                (net(X).square().sum() + net(X + 1).sum() + net(X - 1).exp().mean()).backward()
        for ours, expected in zip(space.parameters(), slow.parameters()):
            close(ours.grad, expected.grad)


def test_compiled(space):
    compiled = torch.compile(space, backend='eager')
    close(compiled(X), space.slim(WIDTHS)(X))


def checkpointed(net, x):
    return net.c(checkpoint(lambda y: net.n(net.b(y)), net.a(x), use_reentrant=False).relu().mean((2, 3)))


SETS = [
    {'a': torch.tensor([0, 1, 2]), 'b': torch.tensor([0, 2, 3, 5, 7])},
    {'a': torch.tensor([1, 2, 4, 5, 7]), 'b': torch.tensor([6, 7])},
    {'a': torch.arange(8), 'b': torch.arange(8)},
]


def steps_of(space, images):
    """Everything that three steps and a prepared forward compute."""
    found = []
    for sets in SETS:
        space.zero_grad()
        space.activate({label: len(chosen) for label, chosen in sets.items()}, sets)
        found.append(space.train()(images))
        found[-1].square().sum().backward()
        found += [parameter.grad for parameter in space.parameters()]
        found.append(space.eval()(images))
        with torch.no_grad(), space.prepared() as tensors:
            found += [space(images), *(tensors[name] for name in sorted(space.active.axes))]
        found += [buffer.clone() for buffer in space.buffers()]
    return found


def without_the_folder(monkeypatch):
    """`ActiveModel` as it is where the folder of the fast step was deleted."""
    for name in [name for name in sys.modules if name.startswith('nni_cafenet.slicing.fast_step')]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    spec = importlib.util.spec_from_file_location('nni_cafenet.slicing.active_model_alone', active_model.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FastStep is None
    return module.ActiveModel


@pytest.mark.parametrize('wiring', [network, checkpointed])
@pytest.mark.parametrize('kind', ['plain', 'double', 'channels last'])
def test_the_fast_step_is_for_speed_alone(space, monkeypatch, wiring, kind):
    space.full_model.wiring, images = wiring, X
    if kind == 'double':
        space, images = space.double(), X.double()
    elif kind == 'channels last':
        space, images = space.to(memory_format=torch.channels_last), X.to(memory_format=torch.channels_last)
    slow, alone = copy.deepcopy(space), copy.deepcopy(space)
    expected = steps_of(space, images)
    with monkeypatch.context() as patch:
        patch.setattr(active_model, 'FastStep', None)
        found = steps_of(slow, images)
    alone._active_model = without_the_folder(monkeypatch)(alone.full_model, alone.graph)
    for ours in (found, steps_of(alone, images)):
        assert len(ours) == len(expected)
        assert [index for index, pair in enumerate(zip(ours, expected)) if not torch.equal(*pair)] == []
