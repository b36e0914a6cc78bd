from __future__ import annotations

import itertools
import random

import nni
import nni.nas.strategy
import numpy as np
import pytest
import torch
from nni.mutable import MutableExpression, ensure_frozen
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.nn.pytorch import (
    ModelSpace,
    MutableBatchNorm2d,
    MutableConv1d,
    MutableConv2d,
    MutableConvTranspose2d,
    MutableDropout,
    MutableEmbedding,
    MutableGroupNorm,
    MutableLayerNorm,
    MutableLinear,
    MutableLSTM,
    MutableMultiheadAttention,
    MutableReLU,
    Repeat,
)
from nni.nas.space import SimplifiedModelSpace, model_context
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import Bilateral, FlopsSensitiveBins, LocallyFree, WidthMutator, WidthSpace, load_slim
from nni_cafenet.space import mutation_summary, published_axes

PICTURE = (2, 1, 8, 8)


class Chain(ModelSpace):
    """Two labels, one of which sets two layers; one expression of a label."""

    def __init__(self, classes=10):
        super().__init__()
        a, b = nni.choice('a', [16, 8, 12]), nni.choice('b', [8, 16, 32])
        self.c1, self.b1 = MutableConv2d(1, a, 3, padding=1), MutableBatchNorm2d(a)
        self.c2, self.b2 = MutableConv2d(a, b * 2, 3, stride=2, padding=1), MutableBatchNorm2d(b * 2)
        self.c3 = MutableConv2d(b * 2, a, 1)
        self.fc = MutableLinear(a, classes)

    def forward(self, x):
        x = self.b2(self.c2(self.b1(self.c1(x)).relu())).relu()
        return self.fc(self.c3(x).mean((2, 3)))


class Expanded(ModelSpace):
    """An expression of two labels, one of which has fractions, in a depthwise convolution."""

    def __init__(self):
        super().__init__()
        a, ratio = nni.choice('a', [8, 16]), nni.choice('ratio', [1.5, 2, 2.25])
        hidden = MutableExpression.to_int(a * ratio)
        self.stem = MutableConv2d(1, a, 3, padding=1)
        self.expand = MutableConv2d(a, hidden, 1)
        self.depthwise = MutableConv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.project = MutableConv2d(hidden, a, 1)
        self.fc = MutableLinear(a, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.fc((x + self.project(self.depthwise(self.expand(x)).relu())).mean((2, 3)))


class Decoder(ModelSpace):
    """A flattened map, a concatenation and a transposed convolution."""

    def __init__(self):
        super().__init__()
        a, b = nni.choice('a', [2, 4, 6]), nni.choice('b', [3, 5])
        self.left, self.right = MutableConv2d(1, a, 3, padding=1), MutableConv2d(1, b, 3, padding=1)
        self.up = MutableConvTranspose2d(a + b, a, 2, stride=2)
        self.fc = MutableLinear(a * 256, 3)

    def forward(self, x):
        return self.fc(self.up(torch.cat([self.left(x), self.right(x)], 1)).flatten(1))


class Encoder(ModelSpace):
    """Attention, layer normalization and an embedding of one label."""

    def __init__(self):
        super().__init__()
        d, hidden = nni.choice('d', [8, 16]), nni.choice('hidden', [12, 16, 32])
        self.embed = MutableEmbedding(11, d)
        self.norm = MutableLayerNorm(d)
        self.attention = MutableMultiheadAttention(d, 4, batch_first=True)
        self.up, self.down = MutableLinear(d, hidden), MutableLinear(hidden, d)
        self.head = MutableLinear(d, 11)

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head(x + self.down(self.up(x).relu()))


class Groups(ModelSpace):
    """Constant numbers of groups: each group keeps the same channels."""

    def __init__(self, a=(16, 8, 12), b=(24, 8), groups=4):
        super().__init__()
        a, b = nni.choice('a', list(a)), nni.choice('b', list(b))
        self.stem, self.norm = MutableConv2d(1, a, 3, padding=1), MutableGroupNorm(groups, a)
        self.mixed = MutableConv2d(a, b, 3, groups=groups)
        self.depthwise, self.last = MutableConv2d(b, b, 3, groups=b), MutableGroupNorm(b, b)
        self.fc = MutableLinear(b, 3)

    def forward(self, x):
        x = self.mixed(self.norm(self.stem(x)).relu()).relu()
        return self.fc(self.last(self.depthwise(x)).relu().mean((2, 3)))


TOKENS = torch.arange(10).view(2, 5)
SPACES = {'chain': (Chain, PICTURE), 'expanded': (Expanded, PICTURE), 'decoder': (Decoder, PICTURE)}
SPACES |= {'encoder': (Encoder, TOKENS), 'groups': (Groups, PICTURE)}


def samples(space):
    return [dict(zip(space.labels, each)) for each in itertools.product(*space.choices.values())]


@pytest.mark.parametrize('name', SPACES)
def test_every_network_is_that_of_nni(name):
    make, example = SPACES[name]
    own, x = make(), example if isinstance(example, torch.Tensor) else torch.randn(example)
    choices = own.simplify()
    space = WidthMutator().mutate(own, example_input=example).eval()
    assert space.choices == {label: tuple(sorted(choice.values)) for label, choice in choices.items()}
    array = np.array([list(sample.values()) for sample in samples(space)])
    macs, params = space.macs(array), space.params(array)
    for sample, cost, number in zip(samples(space), macs, params):
        slim, frozen = space.slim(sample), own.freeze(sample).eval()
        frozen.load_state_dict(slim.state_dict())
        space.activate(sample)
        with torch.no_grad():
            assert torch.equal(slim(x), frozen(x))
            torch.testing.assert_close(space(x), slim(x))
        with (
            FlopCounterMode(display=False) as counter,
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        ):
            frozen.train()(x[:1])
        assert counter.get_total_flops() == 2 * cost == 2 * space.macs(sample)
        assert sum(each.numel() for each in frozen.parameters()) == number == space.params(sample)


def test_labels_govern_groups():
    space = WidthMutator().mutate(Chain(), example_input=PICTURE)
    assert space.labels == ('a', 'b')
    assert space.full_widths == {'a': 16, 'b': 32}
    assert space.smallest_widths == {'a': 8, 'b': 8}
    assert space.group_widths({'a': 12, 'b': 8}) == {'c1': 12, 'c2': 16, 'c3': 12}
    assert {group.label: (group.choices, group.bin) for group in space.groups} == {
        'c1': ((8, 12, 16), 4),
        'c2': ((16, 32, 64), 16),
        'c3': ((8, 12, 16), 4),
    }
    assert space.governed == {'a': ('c1', 'c3'), 'b': ('c2',)}
    assert space.listed
    assert '2 choices for 3 channel groups' in space.describe()
    assert {label: choice.values for label, choice in space.simplify().items()} == {'a': [8, 12, 16], 'b': [8, 16, 32]}


def test_fractions_stay_as_they_are():
    space = WidthMutator().mutate(Expanded(), example_input=PICTURE)
    assert space.choices['ratio'] == (1.5, 2, 2.25)
    assert space.group_widths({'a': 8, 'ratio': 2.25}) == {'stem': 8, 'expand': 18}
    row = space.to_array({'a': 16, 'ratio': 2})[0]
    back = space.to_widths(row)
    assert back == {'a': 16, 'ratio': 2}
    assert list(map(type, back.values())) == [int, int]
    assert published_axes(space)['ratio'] == {'_type': 'uniform', '_value': [1.5, 2.25]}
    assert mutation_summary(space, {'a': 8, 'ratio': 2.25})['ratio'] == 2.25


@pytest.mark.parametrize('sharing', [LocallyFree(), Bilateral(LocallyFree())], ids=repr)
def test_free_channels_move_in_units_that_the_values_can_express(sharing):
    space = WidthMutator().mutate(Chain(), example_input=PICTURE)
    first = next(group for group in space.groups if group.label == 'c1')
    sets = list(sharing.every(first, 8))
    assert len(sets) > 1
    assert all((each.view(-1, 4) == each.view(-1, 4)[:, :1] + torch.arange(4)).all() for each in sets)
    widths = {'a': 8, 'b': 16}
    for seed in range(3):
        drawn = sharing.sample_all(space.groups, space.group_widths(widths), np.random.default_rng(seed))
        slim = space.eval().slim(widths, drawn)
        space.activate(widths, drawn)
        x = torch.randn(PICTURE)
        with torch.no_grad():
            torch.testing.assert_close(space(x), slim(x))


def test_uniform_networks_have_listed_values():
    space = WidthMutator().mutate(Chain(), example_input=PICTURE)
    assert space.uniform_widths(0.6) == {'a': 8, 'b': 16}
    for sample in samples(space):
        found = space.uniform_within(space.macs(sample))
        assert found in samples(space)
        assert space.macs(found) <= space.macs(sample)
    assert space.uniform_within(space.macs(space.full_widths)) == space.full_widths
    with pytest.raises(ValueError, match='macs=1 is below'):
        space.uniform_within(1)


@pytest.mark.parametrize(
    ('widths', 'said'),
    [
        ({'a': 8}, "lacks the label 'b'"),
        ({'a': 8, 'b': 8, 'c2': 16}, "unknown label 'c2'"),
        ({'a': 9, 'b': 8}, r"widths\['a'\]=9 must be one of \[8, 12, 16\]"),
        ({'a': '8', 'b': 8}, r"widths\['a'\]='8' must be one of"),
        ({'a': None, 'b': 8}, r"widths\['a'\]=None must be one of"),
    ],
)
def test_other_widths_are_refused(widths, said):
    space = WidthMutator().mutate(Chain(), example_input=PICTURE)
    for use in (space.macs, space.slim, space.activate, space.group_widths):
        with pytest.raises(ValueError, match=said):
            use(widths)


@pytest.mark.parametrize('rows', [[[8, 8], [9, 8]], [[8, 8, 8]], [8, 8], [['8', '8']]], ids=str)
def test_other_arrays_are_refused(rows):
    space = WidthMutator().mutate(Chain(), example_input=PICTURE)
    with pytest.raises(ValueError, match='widths'):
        space.macs(np.array(rows))


def test_new_weights_are_those_of_a_new_network():
    torch.manual_seed(0)
    space = WidthMutator().mutate(Chain, example_input=PICTURE)
    fresh = space.slim({'a': 8, 'b': 8}, weights=False)
    assert fresh.c1.out_channels == fresh.fc.in_features == 8
    assert not torch.equal(fresh.c1.weight, space.full_model.c1.weight[:8])
    assert abs(float(fresh.c2.weight.detach().std() / nn.Conv2d(8, 16, 3).weight.detach().std()) - 1) < 0.1


def test_random_generators_are_left_alone():
    own = Chain()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = own.freeze({'a': 16, 'b': 32})
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    space = WidthMutator().mutate(own, example_input=PICTURE)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, space.state_dict()[name])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


def test_a_space_reaches_trials():
    space = WidthMutator().mutate(Chain, classes=4, example_input=PICTURE)
    frozen = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(print)).freeze({'a': 12, 'b': 8})
    assert frozen.mutation_summary['a'] == 12
    slim = nni.load(nni.dump(frozen)).executable_model()
    assert (slim.c1.out_channels, slim.c2.out_channels, slim.fc.out_features) == (12, 16, 4)


def test_slim_models_are_saved_and_loaded(tmp_path):
    space = WidthMutator().mutate(Expanded(), example_input=PICTURE)
    slim = space.save_slim(tmp_path, {'a': 8, 'ratio': 1.5}).eval()
    x = torch.randn(PICTURE)
    loaded = load_slim(space.full_model, tmp_path).eval()
    assert torch.equal(loaded(x), slim(x))


def test_a_plain_layer_keeps_its_channels():
    class Half(ModelSpace):
        def __init__(self):
            super().__init__()
            self.plain = nn.Conv2d(1, 6, 3)
            self.own = MutableConv2d(6, nni.choice('c', [4, 8]), 3)
            self.fc = MutableLinear(nni.choice('c', [4, 8]), 2)

        def forward(self, x):
            return self.fc(self.own(self.plain(x)).mean((2, 3)))

    space = WidthMutator().mutate(Half, example_input=PICTURE)
    assert space.full_widths == {'c': 8}
    assert [group.label for group in space.groups] == ['own']
    assert next(fixed.reason for fixed in space.graph.fixed if fixed.label == 'plain') == 'no choice of Half sets it'


def one(**layers):
    """A space of a convolution of ``c`` channels, and what else a test needs."""

    class One(ModelSpace):
        def __init__(self):
            super().__init__()
            self.c = nni.choice('c', [8, 16])
            self.first = MutableConv2d(1, self.c, 3, padding=1)
            for name, make in layers.items():
                setattr(self, name, make(self.c))
            self.fc = MutableLinear(self.c, 2)

        def forward(self, x):
            x = self.first(x)
            for name in layers:
                x = getattr(self, name)(x) if name != 'beside' else x + self.beside(x)
            return self.fc(x.mean((2, 3)))

    return One


@pytest.mark.parametrize(
    ('space', 'said'),
    [
        (one(k=lambda c: MutableConv2d(c, c, nni.choice('k', [1, 3]))), r"'k': \[1, 3\] \(1 changes k.weight beyond"),
        (one(s=lambda c: MutableConv2d(c, c, 1, stride=nni.choice('s', [1, 2]))), r"'s': \[1, 2\] \(changes no number"),
        (one(p=lambda c: MutableDropout(nni.choice('p', [0.1, 0.5]))), r"'p': \[0.1, 0.5\] \(changes no number"),
        (
            one(bias=lambda c: MutableConv2d(c, c, 1, bias=nni.choice('bias', [True, False]))),
            "'bias': .*positive numbers",
        ),
        (one(r=lambda c: MutableReLU(nni.choice('inplace', [True, False]))), "'inplace': .*positive numbers"),
        (one(beside=lambda c: MutableConv2d(c, 16, 1)), "'c': .*8 gives first 8 channels, but beside.* another number"),
        (
            one(beside=lambda c: MutableConv2d(c, nni.choice('d', [8, 16]), 1)),
            "'c': .*'d': .*which must have as many, has another number",
        ),
    ],
    ids=['kernel', 'stride', 'dropout', 'bias', 'inplace', 'residual', 'two labels'],
)
def test_what_is_no_width_is_named(space, said):
    with pytest.raises(TypeError, match=f'One is a model space with choices that are no widths: .*{said}') as caught:
        WidthMutator().mutate(space, example_input=PICTURE)
    assert 'WidthMutator().mutate(One, sample={' in str(caught.value)


@pytest.mark.parametrize('values', [(16, 10, 8), (16, 12, 6)])
def test_widths_that_constant_groups_do_not_divide(values):
    wrong = next(value for value in values if value % 4)
    with pytest.raises(
        TypeError, match=rf"'a': .*{wrong}.* makes no network: .*divisible.*; norm has num_groups=4, mixed"
    ) as error:
        WidthMutator().mutate(Groups(a=values), example_input=PICTURE)
    assert "'b'" not in str(error.value).partition('Fix them')[0]


def test_channels_that_cannot_change_are_named_with_the_reason():
    class Out(ModelSpace):
        def __init__(self):
            super().__init__()
            self.fc = MutableLinear(4, nni.choice('classes', [2, 4]))

        def forward(self, x):
            return self.fc(x)

    with pytest.raises((TypeError, ValueError), match='output of the model'):
        WidthMutator().mutate(Out, example_input=(2, 4))


def test_widths_that_fall_when_a_value_grows():
    class Falls(ModelSpace):
        def __init__(self):
            super().__init__()
            c = nni.choice('c', [8, 16])
            self.a, self.b = MutableConv2d(1, c, 3), MutableConv2d(c, 24 - c, 3)
            self.fc = MutableLinear(24 - c, 2)

        def forward(self, x):
            return self.fc(self.b(self.a(x)).mean((2, 3)))

    with pytest.raises(TypeError, match="'c': .*fewer channels when"):
        WidthMutator().mutate(Falls, example_input=PICTURE)


def test_a_choice_that_changes_more_than_widths_is_found_by_outputs():
    class Scaled(ModelSpace):
        def __init__(self):
            super().__init__()
            c = nni.choice('c', [8, 16])
            self.a = MutableConv2d(1, c, 3, stride=1)
            self.b = MutableConv2d(c, c, 3, dilation=MutableExpression.to_int(c / 8))
            self.fc = MutableLinear(c, 2)

        def forward(self, x):
            return self.fc(self.b(self.a(x)).mean((2, 3)))

    with pytest.raises(TypeError, match="'c': .*changes the network beyond its widths"):
        WidthMutator().mutate(Scaled, example_input=(2, 1, 12, 12))


@pytest.mark.parametrize(
    'option', [{'bins': FlopsSensitiveBins(2, 4)}, {'min_ratio': 0.2}, {'max_ratio': 0.9}, {'divisor': 4}], ids=str
)
def test_rules_for_widths_do_not_apply(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f'{name}=.* has no effect'):
        WidthMutator(**option).mutate(Chain, example_input=PICTURE)


class Dangling(ModelSpace):
    """A choice that no layer takes as an argument."""

    def __init__(self):
        super().__init__()
        width = ensure_frozen(self.add_mutable(nni.choice('width', [4, 8])))
        self.a, self.b = nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.b(self.a(x))


class Recurrent(ModelSpace):
    def __init__(self):
        super().__init__()
        width = nni.choice('width', [4, 8])
        self.a, self.b = MutableLSTM(3, width, batch_first=True), MutableLinear(width, 2)

    def forward(self, x):
        return self.b(self.a(x)[0])


class Grouped(ModelSpace, label_prefix='net'):
    def __init__(self):
        super().__init__()
        width = nni.choice('width', [4, 8])
        self.a = MutableConv1d(3, width * 2, 1)
        self.b = MutableConv1d(width * 2, width * 2, 3, groups=2)
        self.c = MutableConv1d(width * 2, width * 2, 3, groups=width)

    def forward(self, x):
        return self.c(self.b(self.a(x))).mean((1, 2))


@pytest.mark.parametrize(('make', 'shape'), [(Dangling, (2, 3)), (Recurrent, (2, 5, 3)), (Grouped, (2, 3, 8))])
def test_other_layers(make, shape):
    own = make()
    space = WidthMutator().mutate(own, example_input=shape)
    ((label, values),) = space.choices.items()
    assert values == (4, 8)
    assert label == ('net/width' if make is Grouped else 'width')
    with model_context({label: 4}):
        frozen = make().eval()
    frozen.load_state_dict(space.eval().slim({label: 4}).state_dict())
    x = torch.randn(shape)
    assert torch.equal(frozen(x), space.slim({label: 4})(x))


def test_nothing_to_search():
    class Single(ModelSpace):
        def __init__(self):
            super().__init__()
            c = nni.choice('c', [8])
            self.a, self.b = MutableLinear(3, c), MutableLinear(c, 2)

        def forward(self, x):
            return self.b(self.a(x))

    with pytest.raises(ValueError, match='No choice of Single changes a width.*sample='):
        WidthMutator().mutate(Single, example_input=(2, 3))
    with pytest.raises(ValueError, match='No choice of Cut changes a width'):
        WidthMutator().mutate(Cut, sample={'depth': 1, 'repeat': 1, 'hidden0': 4}, example_input=PICTURE)
    assert WidthMutator().mutate(Single, sample={'c': 8}, example_input=(2, 3)).full_widths == {'a': 8}


def test_some_choices_fixed_and_the_others_searched():
    space = WidthMutator().mutate(Chain, sample={'a': 12}, example_input=PICTURE)
    assert space.choices == {'b': (8, 16, 32)}
    assert space.slim({'b': 8}).c1.out_channels == 12
    mixed = one(k=lambda c: MutableConv2d(c, c, nni.choice('k', [1, 3])))
    space = WidthSpace(mixed, example_input=PICTURE, sample={'k': 3})
    assert space.choices == {'c': (8, 16)}
    assert space.slim({'c': 8}).k.kernel_size == (3, 3)


def test_a_choice_of_one_value_is_kept():
    class Single(ModelSpace):
        def __init__(self):
            super().__init__()
            c, d = nni.choice('c', [4, 8]), nni.choice('d', [6])
            self.a, self.b = MutableConv2d(1, c, 3), MutableConv2d(c, d, 3)
            self.fc = MutableLinear(d, 2)

        def forward(self, x):
            return self.fc(self.b(self.a(x)).mean((2, 3)))

    space = WidthMutator().mutate(Single, example_input=PICTURE)
    assert space.choices == {'c': (4, 8), 'd': (6,)}
    assert Single().freeze(space.smallest_widths).a.out_channels == space.slim({'c': 4, 'd': 6}).a.out_channels == 4


class Cut(ModelSpace):
    """A depth: what is beyond it has choices that no layer uses."""

    def __init__(self):
        super().__init__()
        self.stem = MutableConv2d(1, 8, 3)
        self.blocks = Repeat(lambda index: MutableConv2d(8, 8, 1), (1, 2), label='depth')
        self.wide = Repeat(lambda index: Wide(nni.choice(f'hidden{index}', [4, 8])), (1, 3), label='repeat')
        self.fc = MutableLinear(8, 2)

    def forward(self, x):
        return self.fc(self.wide(self.blocks(self.stem(x))).mean((2, 3)))


class Wide(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.a, self.b = MutableConv2d(8, hidden, 1), MutableConv2d(hidden, 8, 1)

    def forward(self, x):
        return self.b(self.a(x))


def test_choices_that_no_layer_uses_keep_their_largest_value():
    space = WidthMutator().mutate(Cut, sample={'depth': 1, 'repeat': 2}, example_input=PICTURE)
    assert space.choices == {'hidden0': (4, 8), 'hidden1': (4, 8), 'hidden2': (8,)}
    sample = {'hidden0': 4, 'hidden1': 8, 'hidden2': 8}
    frozen = Cut().freeze({**sample, 'depth': 1, 'repeat': 2})
    frozen.load_state_dict(space.slim(sample).state_dict())
