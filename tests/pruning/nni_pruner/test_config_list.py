from __future__ import annotations

import re

import pytest
from torch import nn

from nni_cafenet import WidthSpace
from nni_cafenet.pruning.nni_pruner.config_list import LayerRules
from nni_cafenet.testing import SmallResNet

MODEL = SmallResNet()
CONVOLUTIONS = [name for name, module in MODEL.named_modules() if isinstance(module, nn.Conv2d)]


def read(*configs) -> LayerRules:
    return LayerRules.read(configs, MODEL)


def test_nothing_said_leaves_everything_open():
    rules = LayerRules.read(None, MODEL)
    assert (rules.include, rules.exclude, rules.min_ratio, rules.max_ratio) == (None, [], {}, {})


@pytest.mark.parametrize(
    ('config', 'layers'),
    [
        ({'op_types': ['Conv2d']}, CONVOLUTIONS),
        ({'op_types': ['Linear', 'Bilinear']}, ['fc']),
        ({'op_names': ['conv1', 'fc']}, ['conv1', 'fc']),
        ({'op_names_re': [r'layer1\.0\.'], 'op_types': ['Conv2d']}, ['layer1.0.conv1', 'layer1.0.conv2']),
        ({'op_names': ['conv1'], 'op_names_re': ['fc']}, ['conv1', 'fc']),
        ({'op_names': ['conv1', 'bn1'], 'op_types': ['Conv2d']}, ['conv1']),  # both must hold
        ({'op_types': ['Conv2d'], 'exclude_op_names_re': ['layer']}, ['conv1']),
        ({'op_types': ['Conv2d'], 'exclude_op_names': CONVOLUTIONS[1:]}, ['conv1']),
        ({'op_names_re': ['conv1|bn1'], 'exclude_op_types': ['BatchNorm2d']}, ['conv1']),
        ({'op_names_re': ['layer1', 'fc'], 'op_types': ['Linear']}, ['fc']),
        ({'op_names': ['conv1'], 'target_names': ['weight', 'bias'], 'exclude': False}, ['conv1']),
    ],
)
def test_layers_are_selected_as_nni_does(config, layers):
    assert read(config).include == layers


def test_what_is_excluded_stays_whatever_else_is_said():
    rules = read({'op_types': ['Conv2d']}, {'exclude': True, 'op_names': ['conv1'], 'op_types': ['Conv2d']})
    assert (rules.include, rules.exclude) == (CONVOLUTIONS, ['conv1'])
    only = read({'exclude': True, 'op_types': ['Linear']})
    assert (only.include, only.exclude) == (None, ['fc'])


def test_bounds_in_nnis_words_and_in_ours():
    rules = read(
        {'op_names': ['conv1'], 'max_sparse_ratio': 0.75, 'min_sparse_ratio': 0.25},
        {'op_names': ['layer1.0.conv1'], 'min': 0.5, 'max': 0.5},
        {'op_names': ['layer2.0.conv1'], 'max_sparse_ratio': 1},
        {'op_names': ['layer3.0.conv1']},
    )
    assert rules.min_ratio == {'conv1': 0.25, 'layer1.0.conv1': 0.5, 'layer2.0.conv1': 0}
    assert rules.max_ratio == {'conv1': 0.75, 'layer1.0.conv1': 0.5}
    assert rules.include == ['conv1', 'layer1.0.conv1', 'layer2.0.conv1', 'layer3.0.conv1']


def test_of_several_bounds_for_a_layer_the_strictest_counts():
    rules = read({'op_names': ['fc'], 'min': 0.2, 'max': 0.9}, {'op_types': ['Linear'], 'min': 0.4, 'max': 0.7})
    assert (rules.include, rules.min_ratio, rules.max_ratio) == (['fc'], {'fc': 0.4}, {'fc': 0.7})


def test_a_space_is_made_with_them():
    rules = read(
        {'op_types': ['Conv2d'], 'exclude_op_names': ['layer1.1.conv1'], 'min': 0.5},
        {'op_names': ['layer2.1.conv1'], 'max': 0.75},
        {'op_names': ['layer3.1.conv1'], 'exclude': True},
    )
    space = WidthSpace(
        SmallResNet, example_input=(1, 1, 8, 8), verify=False, include=rules.include, exclude=rules.exclude,
        min_ratio=rules.min_ratio, max_ratio=rules.max_ratio,
    )  # fmt: skip
    assert not {'layer1.1.conv1', 'layer3.1.conv1'}.intersection(space.labels)
    assert (space.choices['layer2.1.conv1'][0], space.choices['layer2.1.conv1'][-1]) == (16, 24)
    assert (space.choices['layer1.0.conv1'][0], space.choices['layer1.0.conv1'][-1]) == (8, 16)


def test_a_layer_with_parts_does_not_bring_these_along():
    attention = nn.TransformerEncoderLayer(8, 2, 16)
    rules = LayerRules.read([{'op_types': ['MultiheadAttention', 'Linear']}], attention)
    assert rules.include == [re.compile('^self_attn$'), 'linear1', 'linear2']
    assert LayerRules.read([{'exclude': True, 'op_names': ['self_attn']}], attention).exclude == [
        re.compile('^self_attn$')
    ]


@pytest.mark.parametrize(
    ('config', 'said'),
    [
        ({'op_types': ['Conv2d'], 'sparse_ratio': 0.5}, r"\[0\]\['sparse_ratio'\]: the budget decides; max_sparse_ratio"),
        ({'op_types': ['Conv2d'], 'total_sparsity': 0.5}, r"\[0\]\['total_sparsity'\]: the budget decides"),
        ({'op_types': ['Conv2d'], 'target_settings': 0.5}, r"'target_settings'\]=0.5 must be a dict such as"),
        ({'op_names': ['fc'], 'target_settings': {'weight': {'sparse_ratio': 0.5}}}, "'sparse_ratio'.: the budget"),
        ({'op_types': ['Conv2d'], 'target_settings': {'_input_': {}}}, "'_input_'.: channels are removed from 'weight'"),
        ({'op_types': ['Conv2d'], 'target_settings': {'weight': {'align': 1}}}, "unknown key 'align'; allowed are"),
        ({'op_types': ['Conv2d'], 'granularity': 'in_channel'}, "'in_channel' must be 'out_channel'"),
        ({'op_types': ['Conv2d'], 'max_sparse_ratio': 0.5, 'target_settings': {'weight': {'max_sparse_ratio': 0.6}}},
         r"\['max_sparse_ratio'\]=0.6, but 0.5 elsewhere"),
        ({'op_type': ['Conv2d'], 'mini': 1}, r"unknown keys \['op_type', 'mini'\]; allowed are \['dep"),
        ({'op_types': 'Conv2d'}, r"\[0\]\['op_types'\]='Conv2d' must be a list of class names or classes"),
        ({'op_names': []}, r"\['op_names'\]=\[\] must be a list of strings"),
        ({'op_names_re': ['(']}, r"\['op_names_re'\]=\['\('\] must be a list of regular expressions"),
        ({'op_names': ['conv1'], 'exclude': ['fc']}, r"\['exclude'\]=\['fc'\] must be True, .*exclude_op_names"),
        ({'op_names': ['conv1'], 'target_names': ['_output_']}, r"'target_names'\]=.* must be \['weight'\]"),
        ({'op_names': ['conv1'], 'min': 1.5}, r"\['min'\]=1.5 must be a number from 0 to 1"),
        ({'op_names': ['conv1'], 'max_sparse_ratio': True}, r"'max_sparse_ratio'\]=True must be a number"),
        ({'min': 0.5}, r"\[0\]: no layer is selected; give one of \['op_types', 'op_names', 'op_names_re'\]"),
        ({'op_names': ['conv9', 'fc'], 'exclude_op_names': ['fd']}, r"has no layers \['conv9', 'fd'\]; names are those"),
        ({'op_types': ['conv2d']}, r"\{'op_types': \['conv2d'\]\} selects no layer with its own parameters"),
        ({'op_names': ['layer1']}, r"\['layer1'\]\} selects no layer .* op_names_re"),
        ({'op_names': ['fc'], 'min': 0.5, 'max_sparse_ratio': 0.5}, "'min' and 'max_sparse_ratio' set the same bound"),
        ({'op_names': ['fc'], 'min': 0.5, 'max': 0.4}, '0.5, exceeds the maximum, 0.4'),
        ({'op_names': ['fc'], 'min_sparse_ratio': 1}, 'no channels would be left; exclude the layers'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_remedy(config, said):
    with pytest.raises(ValueError, match=f'(?s)config_list:.*{said}'):
        read(config)


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(ValueError, match='config_list') as error:
        read({'op_types': ['Conv2d'], 'sparse_ratio': 0.5, 'min': 2}, {'sparsity': 0.1, 'what': 1}, {'op_names': ['x']})
    lines = str(error.value).splitlines()
    assert [line.split(':')[0].split('=')[0] for line in lines[1:]] == [
        "[0]['sparse_ratio']",
        "[0]['min']",
        "[1]['sparsity']",
        '[1]',
        '[2]',
    ]


def test_what_nni_writes_for_its_own_pruners_is_accepted():
    plain = read({'op_types': ['Conv2d'], 'max_sparse_ratio': 0.8})
    for same in (
        {'op_types': [nn.Conv2d], 'max_sparse_ratio': 0.8},
        {
            'op_types': ['Conv2d'],
            'target_settings': {'weight': {'max_sparse_ratio': 0.8, 'granularity': 'out_channel'}},
        },
        {'op_types': ['Conv2d'], 'max_sparse_ratio': 0.8, 'dependency_group_id': 'a7f3', 'internal_metric_block': 4},
        {'op_types': ['Conv2d'], 'max_sparse_ratio': 0.8, 'global_group_id': 'all', 'granularity': 'default'},
    ):
        assert read(same) == plain
    with pytest.raises(ValueError, match="'global_group_id'.*'a', 'b'. are several; all layers share one budget"):
        read({'op_types': ['Conv2d'], 'global_group_id': 'a'}, {'op_names': ['fc'], 'global_group_id': 'b'})


def test_a_list_is_left_as_it_was():
    config = {'op_types': ['Conv2d'], 'target_settings': {'weight': {'max_sparse_ratio': 0.8}}}
    read(config)
    assert config == {'op_types': ['Conv2d'], 'target_settings': {'weight': {'max_sparse_ratio': 0.8}}}


@pytest.mark.parametrize('value', [{'op_types': ['Conv2d']}, 'Conv2d', ['Conv2d'], [None]])
def test_it_must_be_a_list_of_dicts(value):
    with pytest.raises(TypeError, match=r"config_list=.* must be a list of dicts, such as \[\{'op_types'"):
        LayerRules.read(value, MODEL)


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match='it is empty: write .* or None for all layers'):
        read()
