from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st
from torch import nn

from nni_cafenet import EqualBins, FlopsSensitiveBins
from nni_cafenet.graph.channel_graph import ChannelGroup
from nni_cafenet.space.bins import bin_groups, parse_bins


def group(width: int, macs: int = 1, label: str = 'a') -> ChannelGroup:
    return ChannelGroup(label, width, (), (), (), macs)


def choices(width: int, number: int, min_ratio: float = 0.0, divisor: int = 1, max_ratio: float = 1.0) -> list[int]:
    (result,) = bin_groups([group(width)], EqualBins(number), [(min_ratio, max_ratio)], [divisor])
    return list(result.choices)


# --- sizes ----------------------------------------------------------------------------------------


def test_bins_are_coarse_where_a_channel_is_cheap():
    # 100 / cost: 1 -> 2^0; 1.01 -> 2^1; 2 -> 2^1; 2.04 -> 2^2; 100 -> 2^7, and no MACs at all: the coarsest.
    groups = [group(256, macs) for macs in (100, 99, 50, 49, 1, 0)]
    assert FlopsSensitiveBins(1, 256).sizes(groups) == [1, 2, 2, 4, 128, 256]
    assert FlopsSensitiveBins(2, 32).sizes(groups) == [2, 2, 2, 4, 32, 32]
    assert FlopsSensitiveBins().sizes(groups) == [1, 2, 2, 4, 32, 32]
    assert FlopsSensitiveBins(4, 4).sizes(groups) == [4] * 6
    assert FlopsSensitiveBins(1, 8).sizes([group(8, 0)]) == [8]
    assert FlopsSensitiveBins().sizes([]) == []


def test_large_costs_are_compared_exactly():
    # Beyond what a double holds: a ratio a hair above 2 asks for 4.
    assert FlopsSensitiveBins().sizes([group(8, 2**60 + 1), group(8, 2**59)]) == [1, 4]
    assert FlopsSensitiveBins().sizes([group(8, 2**60), group(8, 2**59)]) == [1, 2]


def test_first_bins_of_mobilenet_v2(full_size):
    graph = full_size('mobilenet_v2')
    macs = {group.label: group.macs_per_channel for group in graph.groups}
    # Stem, 112 x 112: 3*3*3 of the stem, 3*3 of the depthwise convolution, 16 outputs of the projection.
    assert macs['features.0.0'] == (27 + 9 + 16) * 112**2 == 652_288
    # First projection: 32 inputs, read by the 96 filters of the next expansion.
    assert macs['features.1.conv.1'] == (32 + 96) * 112**2 == 1_605_632
    # That expansion: 16 inputs at 112 x 112; depthwise with stride 2, and 24 outputs, at 56 x 56.
    assert macs['features.2.conv.0.0'] == 16 * 112**2 + (9 + 24) * 56**2 == 304_192
    # 24 channels, tied by a residual sum: two projections (96 and 144 inputs), read by two expansions to 144.
    assert macs['features.2.conv.2'] == (96 + 144 + 144 + 144) * 56**2 == 1_655_808
    # The last: 320 inputs at 7 x 7, read by 1000 classes.
    assert macs['features.18.0'] == 320 * 49 + 1000 == 16_680
    # The 24 channels are the dearest. 1655808 / 652288 = 2.5 -> 4; / 1605632 = 1.03 -> 2; / 304192 = 5.4 -> 8;
    # / 16680 = 99.3 -> 128, above the largest bin.
    assert max(macs.values()) == 1_655_808
    sizes = dict(zip(graph.labels, FlopsSensitiveBins(1, 32).sizes(graph.groups)))
    wide = dict(zip(graph.labels, FlopsSensitiveBins(2, 64).sizes(graph.groups)))
    first = ['features.0.0', 'features.1.conv.1', 'features.2.conv.0.0', 'features.2.conv.2', 'features.18.0']
    assert [sizes[label] for label in first] == [4, 2, 8, 1, 32]
    assert [wide[label] for label in first] == [4, 2, 8, 2, 64]


def test_bins_of_vgg19(analyzed):
    from torchvision.models.vgg import cfgs, make_layers

    graph = analyzed(nn.Sequential(make_layers(cfgs['E']), nn.Flatten(), nn.Linear(512, 10)), (1, 3, 32, 32))
    # 9 products an input channel and position; a pool halves the picture before the next layer reads.
    macs = [
        (27 + 9 * 64) * 1024,  # 32 x 32: 3 inputs, 64 readers                      617,472
        9 * 64 * 1024 + 9 * 128 * 256,  # read at 16 x 16                           884,736
        9 * 64 * 256 + 9 * 128 * 256,  # 16 x 16: 64 inputs, 128 readers            442,368
        9 * 128 * 256 + 9 * 256 * 64,  #                                            442,368
        9 * 128 * 64 + 9 * 256 * 64,  # 8 x 8                                       221,184
        *[9 * 256 * 64 * 2] * 2,  #                                                 294,912
        9 * 256 * 64 + 9 * 512 * 16,  #                                             221,184
        9 * 256 * 16 + 9 * 512 * 16,  # 4 x 4                                       110,592
        *[9 * 512 * 16 * 2] * 2,  #                                                 147,456
        9 * 512 * 16 + 9 * 512 * 4,  #                                               92,160
        *[9 * 512 * 4 * 2] * 3,  # 2 x 2                                             36,864
        9 * 512 * 4 + 10,  # read by 10 classes                                      18,442
    ]
    assert [group.macs_per_channel for group in graph.groups] == macs
    # 884736 over each: 1.4, 1, 2, 2, 4, 3, 3, 4, 8, 6, 6, 9.6, 24, 24, 24, 47.97; rounded up to powers of two, 4 to 64.
    expected = [4, 4, 4, 4, 4, 4, 4, 4, 8, 8, 8, 16, 32, 32, 32, 64]
    assert FlopsSensitiveBins(4, 64).sizes(graph.groups) == expected
    assert FlopsSensitiveBins(1, 64).sizes(graph.groups)[:5] == [2, 1, 2, 2, 4]


@pytest.mark.parametrize(
    ('name', 'options', 'limits', 'groups', 'before', 'after', 'bins'),
    [
        ('mobilenet_v2', {}, (1, 32), 25, 57.9, 29.0, 416),
        ('mobilenet_v2', {}, (2, 64), 25, 57.9, 25.1, 285),
        ('mobilenet_v2', {'width_mult': 1.5}, (2, 64), 25, 62.5, 28.7, 401),
        ('resnet50', {}, (16, 256), 37, 86.1, 41.2, 652),
        ('resnet18', {}, (1, 32), 12, 27.1, 16.0, 288),
    ],
)
def test_sizes_of_spaces(full_size, name, options, limits, groups, before, after, bins):
    graph = full_size(name, **options)
    result = bin_groups(
        graph.groups, FlopsSensitiveBins(*limits), [(0, 1)] * len(graph.groups), [1] * len(graph.groups)
    )
    assert len(result) == groups
    assert round(sum(math.log10(group.width) for group in graph.groups), 1) == before
    assert round(sum(math.log10(len(group.choices)) for group in result), 1) == after
    assert sum(group.bins for group in result) == bins


# --- choices --------------------------------------------------------------------------------------


def test_equal_bins():
    assert choices(20, 5) == [4, 8, 12, 16, 20]
    assert choices(22, 5) == [5, 10, 15, 20, 22]  # the last bin is smaller
    assert choices(3, 20) == [1, 2, 3]  # one channel a bin
    assert choices(7, 1) == [7]
    (result,) = bin_groups([group(22)], EqualBins(5), [(0, 1)], [1])
    assert (result.label, result.full, result.bin, result.bins) == ('a', 22, 5, 5)


@pytest.mark.parametrize(
    ('min_ratio', 'expected'),
    [
        (0.0, [4, 8, 12, 16, 20]),
        (0.1, [2, 4, 8, 12, 16, 20]),  # the smallest width need not be whole bins
        (0.2, [4, 8, 12, 16, 20]),
        (0.21, [5, 8, 12, 16, 20]),  # ceil(4.2)
        (0.99, [20]),
        (1, [20]),
        (1e-9, [1, 4, 8, 12, 16, 20]),
    ],
)
def test_the_smallest_and_the_full_width_are_always_choices(min_ratio, expected):
    assert choices(20, 5, min_ratio) == expected


@pytest.mark.parametrize('width', range(2, 70))
@pytest.mark.parametrize('min_ratio', [0.1, 0.3, 0.5, 0.7])
def test_the_smallest_width_is_the_share_rounded_up(width, min_ratio):
    found = choices(width, 7, min_ratio)
    tenths = round(min_ratio * 10)
    assert found[0] == -(-width * tenths // 10)  # 0.1 * 30 is 3, not 4
    assert found[-1] == width
    assert found == sorted(set(found))


def test_widths_are_multiples_of_a_divisor_where_the_full_width_is_one():
    assert choices(32, 16, divisor=8) == [8, 16, 24, 32]
    assert choices(32, 16, min_ratio=0.3, divisor=8) == [16, 24, 32]  # 9.6 -> 16
    assert choices(24, 2, divisor=8) == [16, 24]
    assert choices(30, 3, divisor=8) == [10, 20, 30]  # 30 is no multiple
    assert choices(8, 8, divisor=8) == [8]


@pytest.mark.parametrize(
    ('shares', 'expected'),
    [
        ((0.0, 1.0), [4, 8, 12, 16, 20]),
        ((0.0, 0.5), [4, 8, 10]),  # the largest width need not be whole bins
        ((0.0, 0.4), [4, 8]),
        ((0.1, 0.59), [2, 4, 8, 11]),  # floor(11.8)
        ((0.0, 0.15), [3]),  # not even a bin
        ((0.5, 0.5), [10]),
        ((0.46, 0.49), [10]),  # no whole number from 9.2 to 9.8: rounded up
        ((0.0, 0.01), [1]),
        ((1.0, 1.0), [20]),
    ],
)
def test_the_largest_width_is_the_share_rounded_down(shares, expected):
    assert choices(20, 5, shares[0], max_ratio=shares[1]) == expected


def test_the_largest_width_is_a_multiple_of_the_divisor():
    assert choices(32, 16, divisor=8, max_ratio=0.8) == [8, 16, 24]  # 25.6 -> 24
    assert choices(32, 16, divisor=8, max_ratio=0.1) == [8]
    assert choices(32, 16, 0.5, divisor=8, max_ratio=0.5) == [16]


@given(
    width=st.integers(1, 200),
    number=st.integers(1, 40),
    divisor=st.sampled_from([1, 2, 8]),
    ends=st.tuples(st.floats(0, 1), st.floats(0.01, 1)).map(sorted),
)
def test_all_widths_lie_between_the_bounds(width, number, divisor, ends):
    least, most = ends
    most = max(most, 0.01)
    found = choices(width, number, least, divisor, most)
    step = divisor if width % divisor == 0 else 1
    assert found == sorted(set(found))
    assert all(choice % step == 0 and 1 <= choice <= width for choice in found)
    assert found[0] >= least * width - 1e-6
    assert len(found) == 1 or found[-1] <= most * width + 1e-6
    assert found[-1] < max(most * width, least * width) + step


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [0, -1, 1.5, True, '4', None])
def test_bin_sizes_must_be_whole_numbers(value):
    for make in (lambda: FlopsSensitiveBins(value, 64), lambda: FlopsSensitiveBins(1, value), lambda: EqualBins(value)):
        with pytest.raises(ValueError, match=r'(min_bin|max_bin|number)=.* must be a whole number, 1 or more'):
            make()


def test_the_smallest_bin_must_not_be_above_the_largest():
    with pytest.raises(ValueError, match='min_bin=8 is above max_bin=4. Give min_bin <= max_bin'):
        FlopsSensitiveBins(8, 4)


def test_rules_for_bins_as_words():
    assert parse_bins('1:32') == FlopsSensitiveBins(1, 32)
    assert parse_bins('20') == EqualBins(20)


@pytest.mark.parametrize('text', ['', 'many', '1:2:3', '1:', '-1', '1.5', '²'])
def test_words_that_are_no_rule_for_bins(text):
    with pytest.raises(ValueError, match='is not a rule for bins: write SMALLEST:LARGEST'):
        parse_bins(text)
