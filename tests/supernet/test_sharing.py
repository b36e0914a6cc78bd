from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from nni_cafenet.space.bins import BinnedGroup
from nni_cafenet.supernet.sharing import Fixed, LocallyFree, Sharing


def group(full, bin=1, label='g'):
    return BinnedGroup(label, full, bin, (full,))


def every(sharing, group, width):
    return [tuple(chosen.tolist()) for chosen in sharing.every(group, width)]


# Counted from 1 as in docs/paper.md, n = 6, r = 1. Centered: base 1..c-2, then any 2 of c-1..c+1 (clipped to 1..6).
# One-sided: base 1..c-1, then 1 of c..c+1.
CENTRED = {
    1: [(1,), (2,)],  # no base, and the zone 0..2 loses its 0: 1 of {1, 2}
    2: [(1, 2), (1, 3), (2, 3)],  # 2 of {1, 2, 3}
    3: [(1, 2, 3), (1, 2, 4), (1, 3, 4)],  # 1, and 2 of {2, 3, 4}
    4: [(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 4, 5)],  # 1, 2, and 2 of {3, 4, 5}
    5: [(1, 2, 3, 4, 5), (1, 2, 3, 4, 6), (1, 2, 3, 5, 6)],  # 1, 2, 3, and 2 of {4, 5, 6}
    6: [(1, 2, 3, 4, 5, 6)],  # the zone loses its 7
}
ONE_SIDED = {
    1: [(1,), (2,)],
    2: [(1, 2), (1, 3)],
    3: [(1, 2, 3), (1, 2, 4)],
    4: [(1, 2, 3, 4), (1, 2, 3, 5)],
    5: [(1, 2, 3, 4, 5), (1, 2, 3, 4, 6)],
    6: [(1, 2, 3, 4, 5, 6)],
}


@pytest.mark.parametrize(('zone', 'expected'), [('centered', CENTRED), ('one-sided', ONE_SIDED)])
@pytest.mark.parametrize('unit', ['bin', 'channel'])
def test_six_channels_with_offset_one(zone, expected, unit):
    sharing = LocallyFree(offset=1, zone=zone, unit=unit)
    for width, sets in expected.items():
        from_zero = [tuple(channel - 1 for channel in chosen) for chosen in sets]
        assert every(sharing, group(6), width) == from_zero, width


@pytest.mark.parametrize(('zone', 'counts'), [('centered', (1, 3, 10, 35)), ('one-sided', (1, 2, 6, 20))])
def test_numbers_of_patterns_away_from_the_borders(zone, counts):
    for offset, count in enumerate(counts):
        assert len(every(LocallyFree(offset=offset, zone=zone), group(20), 10)) == count


def test_offset_two_at_both_borders():
    # r = 2 in 6 channels, counted from 1. Width 1: zone 1..3, pick 1. Width 2: zone 1..4, pick 2 (4 choose 2 = 6).
    # Width 5: base 1, 2 and 3 of {3, 4, 5, 6} (4 sets). Width 3: zone 1..5, pick 3 (10 sets).
    sharing = LocallyFree(offset=2)
    assert every(sharing, group(6), 1) == [(0,), (1,), (2,)]
    assert every(sharing, group(6), 2) == list(combinations(range(4), 2))
    assert every(sharing, group(6), 3) == list(combinations(range(5), 3))
    assert every(sharing, group(6), 5) == [(0, 1, *free) for free in combinations(range(2, 6), 3)]


def test_offset_zero_is_the_fixed_pattern():
    rng = np.random.default_rng(0)
    for zone in ('centered', 'one-sided'):
        for size in (1, 3, 4):
            for width in range(1, 11):
                free, fixed = LocallyFree(offset=0, zone=zone), Fixed()
                assert every(free, group(10, size), width) == every(fixed, group(10, size), width)
                assert every(fixed, group(10, size), width) == [tuple(range(width))]
                assert torch.equal(free.sample(group(10, size), width, rng), torch.arange(width))


def test_units_are_bins():
    # 12 channels in bins of 3: 0-2, 3-5, 6-8, 9-11. Width 6 = 2 bins, centered: no base, 2 of the bins 1..3.
    sharing = LocallyFree(offset=1)
    assert every(sharing, group(12, 3), 6) == [
        (0, 1, 2, 3, 4, 5),
        (0, 1, 2, 6, 7, 8),
        (3, 4, 5, 6, 7, 8),
    ]
    # the same width in channels: base 0..3, and 2 of 4, 5, 6
    assert every(LocallyFree(offset=1, unit='channel'), group(12, 3), 6) == [
        (0, 1, 2, 3, 4, 5),
        (0, 1, 2, 3, 4, 6),
        (0, 1, 2, 3, 5, 6),
    ]


def test_a_short_last_bin_belongs_to_the_full_width_only():
    # 10 channels in bins of 4: 0-3, 4-7 and the short 8-9. It cannot stand for a whole bin: 8 channels are bins 1, 2.
    sharing = LocallyFree(offset=1)
    assert every(sharing, group(10, 4), 4) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert every(sharing, group(10, 4), 8) == [tuple(range(8))]
    assert every(sharing, group(10, 4), 10) == [tuple(range(10))]
    assert every(sharing, group(10, 4), 9) == [tuple(range(9))]


def test_a_width_that_is_no_whole_number_of_bins_takes_its_last_bin_in_part():
    # 12 channels in bins of 4. Width 5 = 2 bins of which the last one gives 1 channel: 2 of the bins 1..3.
    assert every(LocallyFree(offset=1), group(12, 4), 5) == [
        (0, 1, 2, 3, 4),
        (0, 1, 2, 3, 8),
        (4, 5, 6, 7, 8),
    ]
    # Width 2: the first two channels of either of the first two bins.
    assert every(LocallyFree(offset=1), group(12, 4), 2) == [(0, 1), (4, 5)]


groups = st.builds(group, st.integers(1, 24), st.integers(1, 6)).filter(lambda g: g.bin <= g.full)
rules = st.builds(
    LocallyFree,
    offset=st.integers(0, 4),
    zone=st.sampled_from(['centered', 'one-sided']),
    unit=st.sampled_from(['bin', 'channel']),
)


@settings(deadline=None, max_examples=200)
@given(rules, groups, st.data())
def test_every_channel_set_is_valid_and_comes_once(sharing, binned, data):
    width = data.draw(st.integers(1, binned.full))
    sets = every(sharing, binned, width)
    assert len(set(sets)) == len(sets) >= 1
    assert sets[0] == tuple(range(width))  # the leftmost one first
    for chosen in sets:
        assert len(chosen) == width
        assert list(chosen) == sorted(set(chosen))
        assert chosen[0] >= 0
        assert chosen[-1] < binned.full
    unit = binned.bin if sharing.unit == 'bin' else 1
    count = math.ceil(width / unit)
    base = max(count - sharing.offset - (sharing.zone == 'centered'), 0) * unit
    assert all(chosen[: min(base, width)] == tuple(range(min(base, width))) for chosen in sets)
    assert all(chosen[-1] < (count + sharing.offset) * unit for chosen in sets)
    drawn = sharing.sample(binned, width, np.random.default_rng(data.draw(st.integers(0, 99))))
    assert drawn.dtype == torch.int64
    assert tuple(drawn.tolist()) in sets


@pytest.mark.parametrize(
    ('sharing', 'binned', 'width', 'count'),
    [
        (LocallyFree(offset=2), group(20), 10, 10),
        (LocallyFree(offset=3, zone='one-sided'), group(20), 10, 20),
        (LocallyFree(offset=1), group(6), 1, 2),
        (LocallyFree(offset=1), group(12, 4), 5, 3),
    ],
)
def test_samples_are_uniform(sharing, binned, width, count):
    rng, draws = np.random.default_rng(0), 6000
    seen = Counter(tuple(sharing.sample(binned, width, rng).tolist()) for _ in range(draws))
    assert sorted(seen) == sorted(every(sharing, binned, width))
    assert len(seen) == count
    expected = draws / count
    chi_square = sum((n - expected) ** 2 / expected for n in seen.values())
    # mean k, standard deviation sqrt(2 k) with k = count - 1 degrees of freedom
    assert chi_square < (count - 1) + 4 * math.sqrt(2 * (count - 1))


def test_the_same_generator_state_gives_the_same_sets_and_groups_are_drawn_apart():
    groups = [group(20, 1, 'a'), group(20, 1, 'b')]
    sharing, widths = LocallyFree(offset=3), {'a': 10, 'b': 10}

    def draw(seed):
        rng = np.random.default_rng(seed)
        return [sharing.sample_all(groups, widths, rng) for _ in range(20)]

    first, again, other = draw(0), draw(0), draw(1)
    assert list(first[0]) == ['a', 'b']
    assert all(torch.equal(x[label], y[label]) for x, y in zip(first, again) for label in 'ab')
    assert any(not torch.equal(x['a'], y['a']) for x, y in zip(first, other))
    assert any(not torch.equal(x['a'], x['b']) for x in first)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'offset': -1}, 'offset=-1'),
        ({'offset': 1.0}, 'offset=1.0'),
        ({'offset': True}, 'offset=True'),
        ({'zone': 'left'}, "zone='left'"),
        ({'unit': 'block'}, "unit='block'"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(ValueError, match=said):
        LocallyFree(**options)


def test_an_offset_wider_than_every_layer_is_refused():
    groups = [group(6, 2, 'a'), group(8, 2, 'b')]  # 3 and 4 bins
    LocallyFree(offset=3).check(groups)  # fits the wider one
    with pytest.raises(ValueError, match='offset=4 is wider than every layer: the widest group has 4 bins'):
        LocallyFree(offset=4).check(groups)
    LocallyFree(offset=7, unit='channel').check(groups)
    with pytest.raises(ValueError, match='the widest group has 8 channels'):
        LocallyFree(offset=8, unit='channel').check(groups)
    LocallyFree(offset=0).check([group(1)])
    Fixed().check(groups)


def test_a_rule_of_ones_own():
    class Rightmost(Sharing):
        def sample(self, group, width, rng):
            return torch.arange(group.full - width, group.full)

        def every(self, group, width):
            yield self.sample(group, width, None)

    sets = Rightmost().sample_all([group(5)], {'g': 2}, np.random.default_rng(0))
    assert sets['g'].tolist() == [3, 4]


@given(
    full=st.integers(1, 40),
    unit=st.integers(1, 9),
    offset=st.integers(0, 4),
    zone=st.sampled_from(['centered', 'one-sided']),
    data=st.data(),
)
def test_drawn_as_unit_by_unit(full, unit, offset, zone, data):
    # What it was before it was done for all units at once: a seed gives the same channel sets, and leaves the same state.
    sharing, bins = LocallyFree(offset, zone), group(full, min(unit, full))
    width = data.draw(st.integers(1, full))
    ours, theirs = np.random.default_rng(0), np.random.default_rng(0)
    base, end, pick = sharing.window(bins, width)
    free = np.sort(theirs.choice(end - base, size=pick, replace=False)) + base if pick else np.arange(0)
    units = [torch.arange(i * bins.bin, min((i + 1) * bins.bin, full)) for i in (*range(base), *free.tolist())]
    drawn = sharing.sample(bins, width, ours)
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn, torch.cat(units)[:width])
    assert ours.bit_generator.state == theirs.bit_generator.state
