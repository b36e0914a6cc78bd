"""Models as people have them: half precision, compiled, wrapped, parametrized, lazy, without values."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace, load_slim
from nni_cafenet.analysis.verification import probe_values as telling
from nni_cafenet.errors import TraceError
from nni_cafenet.utils.nested_tensors import tensors_in

Conv = nn.Conv2d
PICTURE = (2, 3, 6, 6)
GROUPS = {'a': 8, 'b': 6, 'c': 5}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 3e-3}


class Net(nn.Module):
    """Three layers that can change and a head."""

    def __init__(self):
        super().__init__()
        self.a = Conv(3, 8, 3, padding=1)
        self.n = nn.BatchNorm2d(8)
        self.b = Conv(8, 6, 3, padding=1)
        self.c = Conv(6, 5, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.n(self.a(x)))
        return self.fc(F.relu(self.c(F.relu(self.b(x)))).mean((2, 3)))


class Stubbed(Net):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()

    def forward(self, x):
        return self.dequant(super().forward(self.quant(x)))


class Autocast(Net):
    def forward(self, x):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            return super().forward(x)


@pytest.fixture
def exact(draw):
    """``exact(space)``: at random widths supernet and slim model agree in both modes, and costs and types are right."""

    def run(space, modes=(False, True), pickles=True):
        example = space._example
        for kind, mode in [(kind, mode) for kind in ('random', 'smallest') for mode in modes]:
            space.train(mode)
            widths, sets = draw(space, 5, kind)
            slim = space.slim(widths, sets)
            slim = pickle.loads(pickle.dumps(slim)) if pickles else copy.deepcopy(slim)
            space.activate(widths, sets)
            results = []
            for model in (space, slim):
                torch.manual_seed(0)
                inputs = example.fresh()
                with torch.no_grad():
                    results.append(tensors_in(model(*inputs.args, **inputs.kwargs)))
            assert [tensor.shape for tensor in results[0]] == [tensor.shape for tensor in results[1]]
            assert results[0]
            for one, other in zip(*results):
                assert one.dtype == other.dtype
                if not one.is_meta:
                    error = (one.double() - other.double()).abs().max()
                    assert float(error) <= TOLERANCE[one.dtype] * float(other.double().abs().max())
            assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
            if not mode:
                inputs, counter = space.example_input.with_batch(1).fresh(), FlopCounterMode(display=False)
                with counter, torch.no_grad():
                    slim(*inputs.args, **inputs.kwargs)
                assert space.macs(widths) == counter.get_total_flops() / 2
            own, of_slim = space.state_dict(), slim.state_dict()
            assert {key: (t.dtype, t.device) for key, t in own.items()} == {
                key: (t.dtype, t.device) for key, t in of_slim.items()
            }
            assert [p.requires_grad for p in space.parameters()] == [p.requires_grad for p in slim.parameters()]

    return run


# --- types, devices, modes --------------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_point_types(exact, dtype):
    space = WidthSpace(Net().to(dtype), example_input=PICTURE)
    assert space.full_widths == GROUPS
    assert space._example.args[0].dtype == dtype
    exact(space)


def test_autocast_inside_the_model(exact):
    space = WidthSpace(Autocast(), example_input=torch.randn(PICTURE))
    assert space.full_widths == GROUPS
    exact(space)


def test_a_part_without_gradients(exact, wired):
    def half(net, x):
        with torch.no_grad():
            x = F.relu(net.b(F.relu(net.a(x))))
        return net.c(x)

    space = WidthSpace(wired(half, a=Conv(3, 4, 1), b=Conv(4, 5, 1), c=Conv(5, 2, 1)), example_input=PICTURE)
    assert space.full_widths == {'a': 4, 'b': 5}
    space.train()
    exact(space, pickles=False)


@pytest.mark.parametrize('most', [2**30, 0], ids=['values', 'shapes'])
def test_the_meta_device(exact, monkeypatch, caplog, most):
    monkeypatch.setattr(telling, '_MOST', most)
    with torch.device('meta'):
        model = Net()
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == GROUPS
    assert space._example.args[0].is_meta
    assert ('shapes are checked at other widths, values are not' in caplog.text) == (most == 0)
    exact(space)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_the_meta_device_finds_what_real_values_find(monkeypatch, wired):
    def hard(net, x):
        return net.c(net.b(net.a(x).view(-1, 8, 6, 6)))

    for most in (2**30, 0):
        monkeypatch.setattr(telling, '_MOST', most)
        model = wired(hard, a=Conv(3, 8, 1), b=Conv(8, 6, 1), c=Conv(6, 2, 1)).to('meta')
        space = WidthSpace(model, example_input=torch.randn(PICTURE))
        assert space.full_widths == {'b': 6}
        assert (
            'at another width the model fails with RuntimeError' in {f.label: f.reason for f in space.graph.fixed}['a']
        )


def test_a_factory_on_the_meta_device_makes_untrained_slim_models():
    def factory():
        with torch.device('meta'):
            return Net()

    space = WidthSpace(factory, example_input=PICTURE)
    slim = space.slim(space.smallest_widths, weights=False)
    assert all(parameter.is_meta for parameter in slim.parameters())


def test_a_model_that_is_only_partly_on_the_meta_device():
    model = Net()
    model.b.to('meta')
    with pytest.raises(
        ValueError, match=r'model: 2 of the 13 tensors of Net are on the meta device \(b\.weight, b\.bias\)'
    ):
        WidthSpace(model, example_input=PICTURE)


def test_modes_and_frozen_parameters_are_kept(exact):
    model = Net().train()
    model.n.eval()
    model.a.requires_grad_(False)
    space = WidthSpace(model, example_input=PICTURE)
    assert (space.training, model.training, model.n.training) == (True, True, False)
    slim = space.slim(space.smallest_widths)
    assert (slim.training, slim.n.training) == (True, False)
    assert [p.requires_grad for p in slim.parameters()] == [False, False] + [True] * 8
    exact(space)


# --- weights that are computed ------------------------------------------------------------------------

utils = nn.utils
PARAMETRISED = {
    'weight norm': (utils.parametrizations.weight_norm, {}, GROUPS),
    'weight norm of the whole': (utils.parametrizations.weight_norm, {'dim': None}, GROUPS),
    'spectral norm': (utils.parametrizations.spectral_norm, {}, GROUPS),
    'orthogonal': (utils.parametrizations.orthogonal, {}, {'c': 5}),
    'old weight norm': (utils.weight_norm, {}, GROUPS),
    'old spectral norm': (utils.spectral_norm, {}, GROUPS),
    'pruned': (lambda layer: utils.prune.l1_unstructured(layer, 'weight', 0.3), {}, GROUPS),
}


@pytest.mark.parametrize('name', PARAMETRISED)
@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_parametrized_weights(exact, name, tmp_path):
    make, options, groups = PARAMETRISED[name]

    def factory():
        torch.manual_seed(0)
        model = Net()
        make(model.b, **options)
        return model

    space = WidthSpace(factory, example_input=PICTURE)
    assert space.full_widths == groups
    if name == 'orthogonal':
        assert {f.label: f.reason for f in space.graph.fixed}['b'] == 'meets a dimension of fixed size in aten.matmul'
    exact(space, pickles='parametrizations' not in getattr(make, '__module__', ''))  # torch pickles no such module
    widths = dict.fromkeys(groups, 3)
    slim = space.save_slim(tmp_path, widths).eval()
    assert (slim.b.in_channels, slim.b.out_channels) == (widths.get('a', 8), widths.get('b', 6))
    x = torch.randn(PICTURE)
    assert torch.equal(load_slim(factory, tmp_path).eval()(x), slim(x))


@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_a_slim_model_after_a_training_step_of_old_weight_norm():
    model = Net()
    utils.weight_norm(model.b)
    space = WidthSpace(model, example_input=PICTURE).train()
    space(torch.randn(PICTURE)).sum().backward()
    assert model.b.weight.grad_fn is not None  # which deepcopy refuses
    slim = space.slim(space.smallest_widths)
    assert slim(torch.randn(PICTURE)).shape == (2, 4)


# --- quantization ----------------------------------------------------------------------------------------


def test_quantization_stubs(exact):
    space = WidthSpace(Stubbed(), example_input=PICTURE)
    assert space.full_widths == GROUPS
    exact(space)


@pytest.mark.filterwarnings('ignore')
def test_quantization_aware_training(exact):
    model = Stubbed().train()
    model.qconfig = torch.ao.quantization.get_default_qat_qconfig('x86')
    model = torch.ao.quantization.prepare_qat(model)
    model(torch.randn(PICTURE))
    before = copy.deepcopy(model.state_dict())
    space = WidthSpace(model, example_input=PICTURE)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert space.full_widths == GROUPS
    exact(space, pickles=False)  # torch pickles no such module
    slim = space.slim({'a': 3, 'b': 2, 'c': 1})
    assert slim.b.weight_fake_quant.scale.shape == (2,)


@pytest.mark.filterwarnings('ignore')
def test_fake_quantization_that_has_seen_nothing_keeps_its_widths():
    model = Stubbed().train()
    model.qconfig = torch.ao.quantization.get_default_qat_qconfig('x86')
    model = torch.ao.quantization.prepare_qat(model)
    with pytest.raises(ValueError, match='statistics that no forward in training mode has filled yet'):
        WidthSpace(model, example_input=PICTURE)


# --- how a model is called -------------------------------------------------------------------------------


class Named(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor | None = None


@dataclasses.dataclass
class Record:
    x: torch.Tensor
    note: str = 'unused'


@dataclasses.dataclass
class ModelOutput(OrderedDict):
    """As the models of Hugging Face return: attributes, and keys for those that are not None."""

    logits: torch.Tensor | None = None
    hidden: torch.Tensor | None = None

    def __post_init__(self):
        super().__init__()
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                super().__setitem__(field.name, getattr(self, field.name))


class Thing:
    def __init__(self, tensor):
        self.tensor = tensor


INPUTS = {
    'keywords': ({'x': 0, 'y': None, 'flag': False}, lambda x, y=None, flag=True: x),
    'none': ((0, None, 3), lambda x, y, z: x * z),
    'nested': (([[0]], {'k': {'l': [1]}}), lambda xs, d: xs[0][0] + d['k']['l'][0]),
    'dict': (({'x': 0},), lambda d: d['x']),
    'named tuple': (Named(0), lambda i: i.x),
    'dataclass': (Record(0), lambda i: i.x),
    'model output': ((ModelOutput(0),), lambda i: i.logits),
    'object': ((Thing(0),), lambda i: i.tensor),
    'pictures': (([2, 2],), torch.stack),
    'consumed': (([0],), lambda xs: xs.pop()),
    'written': (([0],), lambda xs: xs[0].mul_(0.5).add_(1)),
}
TENSORS = {0: torch.randn(2, 3, 6, 6), 1: torch.randn(2, 3, 6, 6), 2: torch.randn(3, 6, 6)}


def filled(value):
    """The example, with tensors in the place of their numbers."""
    if type(value) is int and value in TENSORS:
        return TENSORS[value].clone()
    if isinstance(value, Thing):
        return Thing(filled(value.tensor))
    if isinstance(value, ModelOutput):
        return ModelOutput(filled(value.logits))
    if isinstance(value, Record):
        return Record(filled(value.x))
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, Named):
        return Named(filled(value.x))
    if isinstance(value, (list, tuple)):
        return type(value)(filled(item) for item in value)
    return value


@pytest.mark.parametrize('name', INPUTS)
def test_inputs_of_any_kind(exact, wired, name):
    example, pick = INPUTS[name]
    model = wired(
        lambda net, *args, **kwargs: net.b(F.relu(net.a(pick(*args, **kwargs)))), a=Conv(3, 4, 1), b=Conv(4, 2, 1)
    )
    given = filled(example)
    before = [tensor.clone() for tensor in tensors_in(given)]
    space = WidthSpace(model, example_input=given)
    assert space.full_widths == {'a': 4}
    assert space._example.batch_size == 2
    assert len(before) == len(tensors_in(given)) > 0  # the user's own is neither consumed nor written into
    assert all(torch.equal(one, other) for one, other in zip(before, tensors_in(given)))
    exact(space, pickles=False)


OUTPUTS = {
    'named tuple': (Named, '.x'),
    'dataclass': (Record, '.x'),
    'model output': (lambda y: ModelOutput(logits=y), '.logits'),
    'object': (Thing, '.tensor'),
    'mixed': (
        lambda y: {'y': y, 'n': 3, 's': 'text', 'none': None, 'shape': y.shape, 'l': [1, (y, 2.5)]},
        "['y']",
    ),
}


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs_of_any_kind_keep_their_channels_and_are_verified(exact, wired, name):
    output, path = OUTPUTS[name]

    def run(net, x):
        y = net.a(x)
        return output(net.c(F.relu(net.b(y if y.shape[1] == 4 else 2 * y))))

    model = wired(run, a=Conv(3, 4, 1), b=Conv(4, 6, 1), c=Conv(6, 2, 1))
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == {'b': 6}
    assert {f.label: f.reason for f in space.graph.fixed} == {
        'a': 'at another width the network computes something else',
        'c': f'is an output of the model ({path})',
    }
    exact(space, pickles=False)


# --- lazy layers, buffers, views, hooks ----------------------------------------------------------------------


def lazy():
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(6, 1), nn.Flatten(), nn.LazyLinear(3)
    )


def test_lazy_layers_are_filled_by_one_call(exact):
    for model in (lazy(), lazy):
        space = WidthSpace(model, example_input=PICTURE)
        assert space.full_widths == {'0': 8, '3': 6}
        assert not space.full_model[1].running_mean.any()  # the call was made in evaluation mode
        exact(space)
    assert space.slim({'0': 2, '3': 1}, weights=False)(torch.randn(PICTURE)).shape == (2, 3)


def test_lazy_layers_that_a_call_does_not_fill(wired):
    model = wired(lambda net, x: net.b(net.a(x)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    model.spare = nn.LazyLinear(3)
    with pytest.raises(
        TraceError, match=r'layers without sizes \(spare\) that a call with example_input .* does not fill'
    ):
        WidthSpace(model, example_input=PICTURE)
    with pytest.raises(TraceError, match='the model fails with RuntimeError'):
        WidthSpace(lazy(), example_input=(2, 3, 1, 1))


def test_buffers_of_any_kind(exact, wired):
    model = wired(
        lambda net, x: net.d(F.relu(net.a(x) * net.whole + net.flag) * net.same), a=nn.Linear(3, 8), d=nn.Linear(8, 2)
    )
    model.register_buffer('whole', torch.randint(1, 5, (8,)))
    model.register_buffer('flag', torch.rand(8) > 0.5, persistent=False)
    model.register_buffer('same', torch.randn(1).expand(8))
    space = WidthSpace(model, example_input=(2, 3))
    assert space.full_widths == {'a': 8}
    exact(space, pickles=False)
    assert 'flag' not in space.slim({'a': 3}).state_dict()


def test_buffers_that_the_model_replaces_are_replaced_in_the_supernet(wired, draw):
    def run(net, x):
        y = net.a(x)
        if net.training:
            net.mean = 0.9 * net.mean + 0.1 * y.mean((0, 2, 3)).detach()
        return net.b(F.relu(y - net.mean[:, None, None]))

    model = wired(run, a=Conv(3, 8, 1), b=Conv(8, 2, 1), mean=torch.zeros(8))
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == {'a': 8}
    widths, sets = draw(space, 1)
    slim = space.train().slim(widths, sets)
    space.activate(widths, sets)
    before, x = model.mean.clone(), torch.randn(PICTURE)
    space(x), slim(x)
    torch.testing.assert_close(model.mean[sets['a']], slim.mean)
    assert (model.mean != before).sum() == widths['a']


def test_parameters_that_are_views(exact, wired):
    model = wired(
        lambda net, x: net.d(F.relu(net.b(F.relu(net.a(x))))), a=nn.Linear(3, 8), b=nn.Linear(8, 6), d=nn.Linear(6, 2)
    )
    base = torch.randn(8, 8)
    model.b.weight, model.d.weight = nn.Parameter(base[:6]), nn.Parameter(base.t()[:2, :6])
    model.a.bias = nn.Parameter(torch.randn(1).expand(8))
    space = WidthSpace(model, example_input=(2, 3))
    assert space.full_widths == {'a': 8, 'b': 6}
    exact(space, pickles=False)


@pytest.mark.parametrize('kind', ['after', 'before', 'forward'])
def test_what_was_hung_on_the_model_from_outside_runs_the_slim_models_own_layers(exact, kind):
    model = Net()
    old = model.forward
    if kind == 'after':
        model.b.register_forward_hook(lambda module, inputs, output: output + 2 * model.b.bias[:, None, None])
    elif kind == 'before':
        model.b.register_forward_pre_hook(lambda module, inputs: (2 * model.n(inputs[0]),))
    else:
        model.forward = lambda x: 2 * old(x)
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == GROUPS
    exact(space, pickles=False)


def test_tensors_of_inference_mode():
    with torch.inference_mode():
        x, model = torch.randn(PICTURE), Net()
    assert WidthSpace(Net(), example_input=x).full_widths == GROUPS
    with pytest.raises(ValueError, match='parameters of Net were made in torch.inference_mode.*Make and load'):
        WidthSpace(model, example_input=PICTURE)


def test_wrapped_models_are_taken_out(exact, caplog):
    for wrap in (torch.compile, nn.DataParallel, lambda model: nn.DataParallel(torch.compile(model))):
        caplog.clear()
        model = Net()
        with caplog.at_level(logging.WARNING):
            space = WidthSpace(wrap(model), example_input=PICTURE)
        assert 'The model is taken out of its' in caplog.text
        assert space.full_model is model
        assert list(space.state_dict()) == list(model.state_dict()) == list(Net().state_dict())
        exact(space)
