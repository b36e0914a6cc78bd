from __future__ import annotations

import pytest

from nni_cafenet.space.axis_labels import short_labels


def test_names_that_fit_stay():
    assert short_labels(['conv1', 'layer1.0.conv1'], 14) == ['conv1', 'layer1.0.conv1']


def test_what_does_not_distinguish_names_is_left_out():
    names = ['features.0.0', 'features.3.1.block.0', 'features.3.2.block.0', 'features.4.1.block.0']
    assert short_labels(names, 11) == ['f0', 'f3.1', 'f3.2', 'f4']
    assert short_labels([f'net.layers.{i}.mlp.fc{j}' for i in (0, 1) for j in (1, 2)], 8) == [
        'l0.fc1',
        'l0.fc2',
        'l1.fc1',
        'l1.fc2',
    ]


def test_words_become_initials_from_the_left_where_that_is_too_long():
    names = ['conv1', *(f'layer{i}.{j}.conv{k}' for i in (1, 2) for j in (0, 1) for k in (1, 2))]
    assert short_labels(names, 10)[:3] == ['conv1', 'l1.0.conv1', 'l1.0.conv2']
    assert short_labels(names, 9)[:3] == ['c1', 'l1.0.c1', 'l1.0.c2']


@pytest.mark.parametrize('size', range(8, 24))
def test_labels_are_distinct_and_as_short_as_asked(size):
    names = ['stem', *(f'encoder.layers.encoder_layer_{i}.mlp.{j}' for i in range(12) for j in (0, 3))]
    short = short_labels(names, size)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= size


def test_where_initials_are_alike_names_lose_their_middle():
    names = [f'the_first_part_{a}.of_the_network' for a in ('alpha', 'aloha', 'amber')]
    short = short_labels(names, 12)
    assert len(set(short)) == 3
    assert all('..' in label or len(label) <= 12 for label in short)


def test_integers_and_reserved_names_are_made_readable():
    assert short_labels(['2', '0', 'stage'], 20, {'stage'}) == ['layer 2', 'layer 0', 'stage width']


def test_a_name_that_another_one_continues():
    assert short_labels(['the_backbone', 'the_backbone.conv'], 12) == ['the_backbone', 'conv']
