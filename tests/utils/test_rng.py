from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from nni_cafenet.utils.rng import load_random_state, random_state, seeded


def draw():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), np.random.randn(), random.random(), random.gauss(0, 1)


def test_a_state_brings_every_generator_back():
    draw()  # odd numbers of normal draws leave a cached second one behind
    state = random_state()
    first = draw()
    assert draw() != first
    load_random_state(state)
    assert draw() == first


def test_a_state_is_plain_data(tmp_path):
    state = random_state()
    first = draw()
    torch.save(state, tmp_path / 'state')
    load_random_state(torch.load(tmp_path / 'state', weights_only=True))
    assert draw() == first


def test_a_state_is_a_copy():
    state = random_state()
    first = draw()
    draw()
    load_random_state(state)
    draw()
    load_random_state(state)
    assert draw() == first


def test_a_seeded_block():
    before = random_state()
    expected = draw()
    load_random_state(before)
    with seeded(3):
        inside = draw()
    assert draw() == expected
    with seeded(3):
        assert draw() == inside
    with seeded(4):
        assert draw() != inside


def test_a_seeded_block_that_fails():
    before = random_state()
    expected = draw()
    load_random_state(before)
    with pytest.raises(KeyError), seeded(0):
        {}[str(draw())]
    assert draw() == expected


def test_seeds_beyond_32_bits():
    with seeded(2**40 + 1):
        draw()
