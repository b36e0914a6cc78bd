from __future__ import annotations

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from nni_cafenet import Bilateral, EqualBins, Fixed, LocallyFree, WidthMutator
from nni_cafenet.space.bins import BinnedGroup
from nni_cafenet.testing import SmallResNet

FREE = Bilateral(LocallyFree(offset=1))


def group(full, bin=1, label='g'):
    return BinnedGroup(label, full, bin, (full,))


def every(sharing, group, width):
    return [tuple(chosen.tolist()) for chosen in sharing.every(group, width)]


def test_a_width_is_the_leftmost_or_the_rightmost_channels():
    assert every(Bilateral(), group(6), 2) == [(0, 1), (4, 5)]
    assert every(Bilateral(), group(6), 4) == [(0, 1, 2, 3), (2, 3, 4, 5)]
    assert every(Bilateral(), group(6), 6) == [(0, 1, 2, 3, 4, 5)]  # the same at both ends


def test_a_free_zone_at_either_end():
    # Width 4 of 6, offset 1, counted from 0. Left: base 0, 1 and 2 of {2, 3, 4}. Right: base 4, 5 and 2 of {1, 2, 3}.
    assert every(FREE, group(6), 4) == [
        (0, 1, 2, 3),
        (0, 1, 2, 4),
        (0, 1, 3, 4),
        (2, 3, 4, 5),
        (1, 3, 4, 5),
        (1, 2, 4, 5),
    ]


def test_bins_are_counted_from_either_end():
    # 10 channels in bins of 4, the last one short: from the right, the bins are 6-9, 2-5 and the short 0-1.
    assert every(Bilateral(), group(10, 4), 4) == [(0, 1, 2, 3), (6, 7, 8, 9)]
    assert every(FREE, group(10, 4), 4) == [(0, 1, 2, 3), (4, 5, 6, 7), (6, 7, 8, 9), (2, 3, 4, 5)]


def usage(sharing, bins=20):
    """How often each bin is in a channel set, over all widths; all sets of a width count alike."""
    counts = np.zeros(bins)
    for width in range(1, bins + 1):
        sets = every(sharing, group(bins), width)
        for chosen in sets:
            counts[list(chosen)] += 1 / len(sets)
    return counts


def test_usage_of_the_first_and_the_last_bin():
    def ratio(sharing):
        return usage(sharing)[0] / usage(sharing)[-1]

    assert ratio(Fixed()) == pytest.approx(20)
    assert ratio(LocallyFree(offset=1)) == pytest.approx(11.5, abs=0.05)
    assert ratio(LocallyFree(offset=3)) == pytest.approx(5.8, abs=0.05)
    for rule in (Fixed(), LocallyFree(offset=1), LocallyFree(offset=3)):
        assert ratio(Bilateral(rule)) == pytest.approx(1)


def test_drawn_channels_are_used_evenly():
    rng, counts = np.random.default_rng(0), np.zeros(20)
    for _ in range(4000):
        width = int(rng.integers(1, 21))
        counts[Bilateral().sample(group(20), width, rng).numpy()] += 1
    # Each channel is in (c + (21 - c)) / 40 = 21/40 of the sets: 2100, standard deviation 32.
    assert abs(counts - 2100).max() < 5 * 32


groups = st.builds(group, st.integers(1, 24), st.integers(1, 6)).filter(lambda g: g.bin <= g.full)
rules = st.one_of(
    st.just(Fixed()),
    st.builds(LocallyFree, st.integers(0, 3), zone=st.sampled_from(['centered', 'one-sided'])),
)


@settings(deadline=None, max_examples=100)
@given(st.builds(Bilateral, rules, st.booleans()), groups, st.data())
def test_every_set_comes_once_with_its_mirror_image(sharing, binned, data):
    width = data.draw(st.integers(1, binned.full))
    sets = every(sharing, binned, width)
    assert len(set(sets)) == len(sets)
    assert sets[0] == tuple(range(width))
    assert {tuple(sorted(binned.full - 1 - c for c in chosen)) for chosen in sets} == set(sets)
    drawn = sharing.sample(binned, width, np.random.default_rng(data.draw(st.integers(0, 99))))
    assert drawn.dtype == torch.int64
    assert tuple(drawn.tolist()) in sets


def test_both_ends_are_equally_likely():
    rng = np.random.default_rng(0)
    for sharing, number in ((Bilateral(), 2), (FREE, 6)):
        seen = Counter(tuple(sharing.sample(group(6), 4, rng).tolist()) for _ in range(1200))
        assert len(seen) == number
        assert all(abs(n - 1200 / number) < 5 * (1200 / number) ** 0.5 for n in seen.values())


def test_groups_count_from_the_same_end_where_they_are_coupled():
    groups, widths = [group(6, 1, 'a'), group(6, 1, 'b')], {'a': 2, 'b': 2}

    def ends(sharing):
        rng = np.random.default_rng(0)
        drawn = [sharing.sample_all(groups, widths, rng) for _ in range(40)]
        return {(int(each['a'][0]), int(each['b'][0])) for each in drawn}

    assert ends(Bilateral()) == {(0, 0), (4, 4)}
    assert ends(Bilateral(coupled=False)) == {(0, 0), (0, 4), (4, 0), (4, 4)}


@pytest.mark.parametrize('sharing', [Bilateral(), Bilateral(coupled=False), FREE])
def test_what_is_compared_comes_in_pairs_of_mirror_images(sharing):
    groups, widths = [group(8, 1, 'a'), group(6, 1, 'b')], {'a': 3, 'b': 2}
    for sets in (
        sharing.sample_several(groups, widths, 4, np.random.default_rng(0)),
        sharing.different(groups, widths, 2, np.random.default_rng(0)),
    ):
        for left, right in zip(sets[::2], sets[1::2]):
            assert left['a'].tolist() == (7 - right['a']).flip(0).tolist()
            assert left['b'].tolist() == (5 - right['b']).flip(0).tolist()
    assert len(sharing.sample_several(groups, widths, 3, np.random.default_rng(0))) == 3


def test_every_score_compares_both_ends():
    groups = [group(8)]
    for seed in range(20):
        sets = Bilateral().different(groups, {'g': 3}, 2, np.random.default_rng(seed))
        assert [each['g'].tolist() for each in sets] == [[0, 1, 2], [5, 6, 7]]
    assert len(Bilateral().different(groups, {'g': 3}, 5, np.random.default_rng(0))) == 2  # there are no more
    assert len(FREE.different(groups, {'g': 3}, 1, np.random.default_rng(0))) == 1


def test_options():
    with pytest.raises(TypeError, match='rule=3 must be a Sharing'):
        Bilateral(3)
    with pytest.raises(ValueError, match='bilateral already'):
        Bilateral(Bilateral())
    with pytest.raises(TypeError, match='coupled=1 must be True or False'):
        Bilateral(coupled=1)
    with pytest.raises(ValueError, match='offset=4 is wider than every layer'):
        Bilateral(LocallyFree(offset=4)).check([group(6, 2)])
    assert repr(FREE) == "Bilateral(rule=LocallyFree(offset=1, zone='centered', unit='bin'), coupled=True)"
    assert pickle.loads(pickle.dumps(FREE)) == FREE
    assert Bilateral() != FREE


@pytest.fixture(scope='module')
def space():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(4)).mutate(SmallResNet, example_input=(1, 1, 8, 8)).double()


SHARINGS = [
    Fixed(),
    LocallyFree(offset=1),
    LocallyFree(offset=2, unit='channel'),
    Bilateral(),
    Bilateral(coupled=False),
    FREE,
]


@pytest.mark.parametrize('sharing', SHARINGS, ids=repr)
def test_the_supernet_computes_what_the_slim_model_of_a_channel_set_computes(space, sharing):
    rng = np.random.default_rng(0)
    images = torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        widths = {each.label: int(rng.choice(each.choices)) for each in space.groups}
        for sets in sharing.different(space.groups, widths, 3, rng):
            slim = space.slim(widths, sets)
            space.activate(widths, sets)
            for training in (False, True):
                ours = copy.deepcopy(space.state_dict())
                expected = slim.train(training)(images)
                torch.testing.assert_close(space.train(training)(images), expected, rtol=1e-9, atol=1e-9)
                space.load_state_dict(ours)
    space.activate(space.full_widths)
