"""Models that cannot become a width space, or not all of them: a reason or an error, never a wrong network."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.rules import find_rule, register_rule
from nni_cafenet.errors import TraceError

Conv = nn.Conv2d
PICTURE = (2, 3, 6, 6)
ELSE = 'at another width the network computes something else'


def reasons(space) -> dict[str, str]:
    return {record.label: record.reason for record in space.graph.fixed}


@pytest.fixture
def wrong_rule():
    """``wrong_rule(operator, rule)``: another rule of an operator until the test ends."""
    before = {}

    def replace(operator, rule):
        before.setdefault(operator, find_rule(operator))
        register_rule(operator)(rule)

    yield replace
    for operator, rule in before.items():
        register_rule(operator)(rule)


@pytest.fixture
def agrees(draw):
    """``agrees(space)``: supernet and slim model compute the same at random widths."""

    def run(space):
        for training in (False, True):
            space.train(training)
            widths, sets = draw(space, 3)
            slim = space.slim(widths, sets)
            space.activate(widths, sets)
            with torch.no_grad():
                of_supernet, of_slim = (model(*space._example.fresh().args) for model in (space, slim))
            torch.testing.assert_close(of_supernet, of_slim)

    return run


def chain(wired, wiring, **members):
    return wired(wiring, **{'a': Conv(3, 8, 1), 'b': Conv(8, 6, 1), 'c': Conv(6, 2, 1), **members})


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_wrong_rule_is_caught(wrong_rule, agrees, wired, dtype):
    wrong_rule('aten.flip', lambda call, x, axes: x.dims)  # the channels stay where they were, it says
    model = chain(wired, lambda net, x: net.c(F.relu(net.b(F.relu(net.a(x)).flip(1)))))
    space = WidthSpace(model.to(dtype), example_input=PICTURE)
    assert space.full_widths == {'b': 6}
    assert reasons(space)['a'] == ELSE
    agrees(space)


def test_a_rule_that_forgets_a_tie_is_caught(wrong_rule, wired):
    wrong_rule('aten.mul', lambda call, x, y: x.dims)
    model = chain(wired, lambda net, x: net.c(net.b(net.a(x) * net.gate(x))), gate=Conv(3, 8, 1))
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == {'b': 6}
    assert set(reasons(space)) == {'a', 'gate', 'c'}


@pytest.mark.parametrize(
    ('hide', 'label'), [('zero', 'c'), ('nan', 'c'), ('zero', 'b')], ids=['zero head', 'nan head', 'zero middle']
)
def test_weights_that_hide_the_error_do_not_save_it(wrong_rule, wired, hide, label):
    # A last layer of zeros (as residual blocks are initialized), or one that training has ruined.
    wrong_rule('aten.flip', lambda call, x, axes: x.dims)
    model = chain(wired, lambda net, x: x.mean(1, True) + net.c(F.relu(net.b(F.relu(net.a(x)).flip(1)))))
    with torch.no_grad():
        model.get_submodule(label).weight.fill_(0.0 if hide == 'zero' else float('nan'))
    before = copy.deepcopy(model.state_dict())
    space = WidthSpace(model, example_input=PICTURE)
    assert reasons(space)['a'] == ELSE
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[key], equal_nan=True)


def test_values_that_are_not_finite_are_said(wired, caplog):
    space = WidthSpace(
        chain(wired, lambda net, x: net.c(net.b(net.a(x)))), example_input=torch.full(PICTURE, float('nan'))
    )
    assert space.full_widths == {'a': 8, 'b': 6}
    assert 'returns values that are not finite' in caplog.text


NUMBERS = {
    'view': (
        lambda net, x: net.c(net.b(net.a(x).view(-1, 8, 6, 6))),
        'at another width the model fails with RuntimeError',
    ),
    'zeros': (
        lambda net, x: net.c(net.b(net.a(x) + torch.zeros(2, 8, 1, 1))),
        'at another width the model fails with RuntimeError',
    ),
    'scale': (lambda net, x: net.c(net.b(net.a(x) * net.a(x).shape[1] ** -0.5)), ELSE),
    'branch': (lambda net, x: net.c(net.b(net.a(x) if net.a(x).shape[1] == 8 else -net.a(x))), ELSE),
    'table': (
        lambda net, x: net.c(net.b(net.a(x) * torch.arange(8.0)[:, None, None])),
        'meets a dimension of fixed size',
    ),
}


@pytest.mark.parametrize('name', NUMBERS)
def test_a_width_in_the_models_code(agrees, wired, name):
    wiring, reason = NUMBERS[name]
    space = WidthSpace(chain(wired, wiring, b=Conv(8, 6, 1)), example_input=PICTURE)
    assert space.full_widths == {'b': 6}
    assert reason in reasons(space)['a']
    agrees(space)


def test_channels_that_nobody_reads_may_go(agrees, wired):
    space = WidthSpace(
        chain(wired, lambda net, x: net.c(net.b(net.a(x)[:, :4])), b=Conv(4, 6, 1)), example_input=PICTURE
    )
    assert space.full_widths == {'a': 4, 'b': 6}  # the last four of a; the slice is a constant
    agrees(space)


def test_one_layer_after_two_producers_of_different_layouts(agrees, wired):
    model = wired(
        lambda net, x: net.c(net.shared(net.a(x)) + net.shared(torch.cat([net.b(x), net.d(x)], 1))),
        a=Conv(3, 8, 1),
        b=Conv(3, 4, 1),
        d=Conv(3, 4, 1),
        shared=Conv(8, 6, 1),
        c=Conv(6, 2, 1),
    )
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == {'a': 4, 'a:2': 4, 'shared': 6}  # the halves of a go with b and d
    agrees(space)


def test_one_layer_on_the_input_and_on_features(wired):
    model = wired(lambda net, x: net.c(F.relu(net.shared(net.shared(x)))), shared=Conv(3, 3, 1), c=Conv(3, 2, 1))
    with pytest.raises(ValueError, match=r'(?s)no channel group that can change.*meets a dimension of fixed size'):
        WidthSpace(model, example_input=PICTURE)


RETURNED = {
    'input': (lambda net, x: (x, net.c(net.b(net.a(x)))), {'a': 8, 'b': 6}),
    'feature map': (lambda net, x: (lambda y: (y, net.c(net.b(y))))(net.a(x)), {'b': 6}),
    'parameter': (lambda net, x: (net.a.weight, net.c(net.b(net.a(x)))), {'b': 6}),
}


@pytest.mark.parametrize('name', RETURNED)
def test_what_is_returned_keeps_its_width(agrees, wired, name):
    wiring, groups = RETURNED[name]
    space = WidthSpace(chain(wired, wiring), example_input=PICTURE)
    assert space.full_widths == groups
    agrees(space)


@pytest.mark.parametrize('result', [None, 'done', {'loss': 1.5}])
def test_a_model_that_returns_no_tensor(wired, result):
    model = chain(wired, lambda net, x: (net.c(net.b(net.a(x))), result)[1])
    with pytest.raises(TraceError, match=r'Wired returns no tensor for example_input \(\(2, 3, 6, 6\)\) in evaluation'):
        WidthSpace(model, example_input=PICTURE)


@pytest.mark.parametrize('model', [nn.Identity(), nn.Sequential(), nn.Sequential(nn.ReLU(), nn.Flatten())])
def test_a_model_without_parameters(model):
    with pytest.raises(ValueError, match='has no channel group that can change'):
        WidthSpace(model, example_input=PICTURE)


def test_python_control_flow_on_values(wired):
    model = chain(wired, lambda net, x: net.c(net.b(net.a(x))) if x.sum() > 0 else net.c(net.b(-net.a(x))))
    with pytest.raises(TraceError, match='The model Wired cannot be analyzed'):
        WidthSpace(model, example_input=PICTURE)


def test_inputs_and_buffers_that_the_model_writes_into(agrees, wired):
    def run(net, x):
        x.mul_(0.5).add_(1)
        net.count += 1
        net.mean.lerp_(net.a(x).mean((0, 2, 3)).detach(), 0.1)
        return net.c(net.b(F.relu_(net.a(x) - net.mean[:, None, None])))

    model = chain(wired, run, mean=torch.zeros(8), count=torch.tensor(0))
    x, before = torch.randn(PICTURE), copy.deepcopy(model.state_dict())
    values = x.clone()
    space = WidthSpace(model, example_input=x)
    assert space.full_widths == {'a': 8, 'b': 6}
    assert torch.equal(x, values)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    agrees(space)


def test_a_model_that_fails_in_training_mode_only(wired, caplog):
    def run(net, x, target=None):
        if net.training and target is None:
            raise ValueError('targets should not be None in training mode')
        return net.c(net.b(net.a(x)))

    assert WidthSpace(chain(wired, run), example_input=PICTURE).full_widths == {'a': 8, 'b': 6}
    assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
    with pytest.raises(TraceError, match='head of Wired is not used in evaluation mode.*targets should not be None'):
        WidthSpace(chain(wired, run, head=Conv(8, 4, 1)), example_input=PICTURE)
    both = (torch.zeros(PICTURE), torch.zeros(1))
    assert WidthSpace(chain(wired, run, head=Conv(8, 4, 1)), example_input=both).full_widths == {'a': 8, 'b': 6}


def test_a_model_that_needs_two_samples(wired):
    def run(net, x):
        if x.shape[0] < 2:
            raise ValueError('two samples, please')
        return net.c(net.b(net.a(x)))

    assert WidthSpace(chain(wired, run), example_input=PICTURE).full_widths == {'a': 8, 'b': 6}
    with pytest.raises(
        TraceError, match='is rejected by the model Wired: ValueError: two samples, please. Give an input'
    ):
        WidthSpace(chain(wired, run), example_input=(1, 3, 6, 6))


def test_a_space_is_no_model(wired):
    space = WidthSpace(chain(wired, lambda net, x: net.c(net.b(net.a(x)))), example_input=PICTURE)
    with pytest.raises(TypeError, match='is a model space already'):
        WidthSpace(space, example_input=PICTURE)
