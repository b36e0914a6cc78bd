from __future__ import annotations

import json

import numpy as np
import pytest

from nni_cafenet.space.checks import check_widths
from nni_cafenet.space.web_ui_summary import mutation_summary, published_axes


class Costs:
    """A space in which a channel costs 10 MACs and 3 parameters, beside a fixed 100 and 7."""

    def __init__(self, **full):
        self.choices = {label.replace('__', '.'): tuple(range(1, width + 1)) for label, width in full.items()}

    @property
    def full_widths(self):
        return {label: allowed[-1] for label, allowed in self.choices.items()}

    def checked(self, widths):
        return check_widths(widths, self.full_widths)

    def macs(self, widths):
        return 100 + 10 * sum(widths.values())

    def params(self, widths):
        return 7 + 3 * sum(widths.values())

    def widths(self, share):
        return {label: max(1, int(share * allowed[-1])) for label, allowed in self.choices.items()}


def named(*labels, width=10):
    space = Costs()
    space.choices = {label: tuple(range(1, width + 1)) for label in labels}
    return space


def test_axes_end_at_the_largest_width_and_shares_are_those_of_the_full_one():
    class Bounded(Costs):
        full_widths = {'stem': 8, 'body.conv': 12}

    space = Bounded(stem=4, body__conv=6)
    assert published_axes(space)['stem'] == {'_type': 'uniform', '_value': [1, 4]}
    assert published_axes(space, most=1) == {'stem-body %': {'_type': 'uniform', '_value': [10.0, 50.0]}}
    summary = mutation_summary(space, {'stem': 4, 'body.conv': 6})
    assert summary['MACs %'] == 66.7  # 100 + 10 * 10 of 100 + 10 * 20


def test_widths_costs_and_what_is_given_in_order():
    space = Costs(stem=8, body__conv=12)
    summary = mutation_summary(space, {'body.conv': 6, 'stem': 4}, stage='finalist', score=0.25, seed=3)
    # 100 + 10 * (4 + 6) of 100 + 10 * (8 + 12)
    assert list(summary.items()) == [
        ('stage', 'finalist'),
        ('stem', 4),
        ('body.conv', 6),
        ('MACs', 200),
        ('MACs %', 66.7),
        ('params', 37),
        ('score', 0.25),
        ('seed', 3),
    ]


def test_without_a_stage_there_is_no_such_key_and_all_is_plain_json():
    space = Costs(stem=8)
    summary = mutation_summary(space, {'stem': np.int64(8)})
    assert json.loads(json.dumps(summary)) == {'stem': 8, 'MACs': 180, 'MACs %': 100.0, 'params': 31}
    assert [type(value) for value in summary.values()] == [int, int, float, int]


def test_a_real_space(family):
    space = family('mobilenet_v2')
    summary = mutation_summary(space, space.smallest_widths, most=100)
    assert summary['MACs'] == space.macs(space.smallest_widths)
    assert summary['params'] == space.params(space.smallest_widths)
    widths = list(summary.values())[:-3]
    assert widths == list(space.smallest_widths.values())
    assert list(summary)[:3] == ['f0', 'f1', 'f2.0']


def test_many_groups_are_summed_up_by_the_deepest_level_that_fits():
    labels = ['conv1', *(f'layer{i}.{j}.conv{k}' for i in (1, 2, 3) for j in (0, 1) for k in (1, 2))]
    space = named(*labels)
    widths = dict.fromkeys(labels, 10)
    widths['layer1.0.conv1'] = 3
    by_block = mutation_summary(space, widths, most=7)
    assert list(by_block)[:-3] == ['conv1 %', *(f'layer{i}.{j} %' for i in (1, 2, 3) for j in (0, 1))]
    assert by_block['layer1.0 %'] == 65.0
    by_stage = mutation_summary(space, widths, most=6)
    assert list(by_stage)[:-3] == ['conv1 %', 'layer1 %', 'layer2 %', 'layer3 %']
    assert [by_stage['conv1 %'], by_stage['layer1 %'], by_stage['layer2 %']] == [100.0, 82.5, 100.0]  # 33 of 40
    by_group = mutation_summary(space, widths, most=13)
    assert list(by_group)[:-3] == [label.replace('layer', 'l') for label in labels]
    assert by_group['l1.0.conv1'] == 3


@pytest.mark.parametrize(
    ('labels', 'expected'),
    [
        ([f'conv{i}' for i in range(9)], ['conv0-conv2 %', 'conv3-conv5 %', 'conv6-conv8 %']),
        (
            ['bert.first', *(f'bert.layer.{i}.fc{k}' for i in range(7) for k in (1, 2))],
            # bert, then bert.first and bert.layer, then eight: in three runs
            ['bert.first-layer.1 %', 'bert.layer.2-4 %', 'bert.layer.5-6 %'],
        ),
    ],
)
def test_where_levels_are_too_coarse_neighbors_are_joined(labels, expected):
    space = named(*labels)
    assert list(mutation_summary(space, space.widths(0.5), most=3))[:-3] == expected


@pytest.mark.parametrize('most', [1, 2, 5, 12])
def test_at_most_so_many_axes(most):
    labels = [f'{a}.{b}.{c}.conv' for a in 'pqr' for b in range(5) for c in range(20)]
    space = named(*labels)
    summary = mutation_summary(space, space.widths(0.5), most=most)
    assert 1 <= len(summary) - 3 <= most
    assert all(summary[key] == 50.0 for key in list(summary)[:-3])


def test_the_keys_do_not_depend_on_the_widths(family):
    space = family('densenet121')
    keys = [list(mutation_summary(space, space.uniform_widths(share))) for share in (0.1, 0.5, 1.0)]
    assert keys[0] == keys[1] == keys[2]
    assert len(keys[0]) <= 15


def test_axes_of_groups_go_from_the_smallest_to_the_full_width():
    axes = published_axes(Costs(stem=8, body=16))
    assert list(axes) == ['stem', 'body']
    assert axes['body'] == {'_type': 'uniform', '_value': [1, 16]}


def test_axes_of_blocks_have_the_labels_of_summaries():
    space = named(*(f'layer{i}.conv{k}' for i in range(4) for k in (1, 2)))
    axes = published_axes(space, most=4)
    assert list(axes) == list(mutation_summary(space, space.widths(1), most=4))[:-3]
    assert axes['layer0 %'] == {'_type': 'uniform', '_value': [10.0, 100.0]}


def test_numbers_and_taken_names_are_made_readable():
    space = named('2', '0', 'stage', 'params', 'score')
    keys = list(mutation_summary(space, space.widths(1), stage='search', score=1.0))
    assert keys == ['stage', 'layer 2', 'layer 0', 'stage width', 'params width', 'score width', *keys[-4:]]
    assert keys[-4:] == ['MACs', 'MACs %', 'params', 'score']


def test_bad_input():
    space = Costs(stem=8)
    with pytest.raises(ValueError, match=r"widths lacks the label 'stem'"):
        mutation_summary(space, {})
    with pytest.raises(ValueError, match=r"widths\['stem'\]=9 must be a whole number from 1 to 8"):
        mutation_summary(space, {'stem': 9})
    with pytest.raises(ValueError, match='most=0 must be a whole number, 1 or more'):
        mutation_summary(space, {'stem': 8}, most=0)
    with pytest.raises(ValueError, match="'MACs' is a key of the summary itself"):
        mutation_summary(space, {'stem': 8}, MACs=3)
