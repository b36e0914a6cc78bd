"""What a width space is made of, as records."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from torch import nn

from nni_cafenet import EqualBins, WidthSpace, inspect_space
from nni_cafenet.report.inspection import FixedRecord, GroupRecord, LayerRecord


@pytest.fixture(scope='module')
def found():
    """Two 1x1 convolutions on 4 x 4 places, then a linear layer: 16 * 3 * 8 + 16 * 8 * 4 + 4 * 5 = 916 MACs."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    space = WidthSpace(model, example_input=(1, 3, 4, 4), bins=EqualBins(4), min_ratio=0.125)
    return inspect_space(space, 'tiny')


def test_groups(found):
    assert found.groups == (
        # Without its channels 384 + 512 MACs are gone; one channel: 16 * 3 to make it, 16 * 4 to read it.
        GroupRecord('0', 8, 2, (1, 2, 4, 6, 8), 896, 896 / 916, 112, ('0',), ('2',), ('1',)),
        GroupRecord('2', 4, 1, (1, 2, 3, 4), 532, 532 / 916, 133, ('2',), ('5',), ()),
    )


def test_fixed_and_layers(found):
    assert found.fixed == (FixedRecord('5', 5, 'is an output of the model'),)
    assert found.layers == (
        LayerRecord('0', 384, 384 / 916, '0'),
        LayerRecord('2', 512, 512 / 916, '2'),
        LayerRecord('5', 20, 20 / 916, None),
    )


def test_totals(found):
    assert found.inputs == ((1, 3, 4, 4),)
    assert (found.name, found.macs, found.smallest_macs) == ('tiny', 916, 16 * 3 + 16 + 5)
    # Weights and biases 24 + 8 and 32 + 4 and 20 + 5, batch normalization 16; then 3 + 1, 1 + 1, 5 + 5 and 2.
    assert (found.params, found.smallest_params) == (109, 18)
    assert found.log10_widths == pytest.approx(math.log10(5 * 4))
    assert found.log10_widths_without_bins == pytest.approx(math.log10(8 * 4))


def test_a_group_that_makes_and_reads_a_layer_counts_its_macs_once():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.body, self.head = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            x = self.stem(x)
            return self.head(x + self.body(x))

    (group,) = inspect_space(WidthSpace(Residual(), example_input=(2, 3))).groups
    assert (group.macs, group.share) == (18 + 36 + 12, 1.0)
    assert group.macs_per_channel == 3 + 2 * 6 + 2


def test_a_module_that_uses_the_weights_of_layers_makes_the_group_of_the_last():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.rise, self.fall = nn.Linear(6, 12), nn.Linear(12, 4)

        def forward(self, x):
            x = nn.functional.linear(x, self.rise.weight).relu()
            return nn.functional.linear(x, self.fall.weight)

    model = nn.Sequential(nn.Linear(3, 6), Functional(), nn.Linear(4, 2))
    layers = inspect_space(WidthSpace(model, example_input=(2, 3))).layers
    assert [(record.layer, record.macs, record.group) for record in layers] == [
        *(('0', 18, '0'), ('1', 72 + 48, '1.fall'), ('2', 8, None))
    ]


def test_plain_values_and_csv(found):
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain['groups'][0]['widths'] == [1, 2, 4, 6, 8]
    assert plain['layers'][2] == {'layer': '5', 'macs': 20, 'share': 20 / 916, 'group': None}
    first, second = csv.DictReader(io.StringIO(found.to_csv()))
    assert (first['label'], first['widths'], first['producers'], first['others']) == ('0', '1 2 4 6 8', '0', '1')
    assert (second['macs_per_channel'], float(second['share'])) == ('133', 532 / 916)


def test_it_prints_as_tables(found):
    text = str(found)
    assert (
        '| 0     |     8 |   2 | 1, 2 to 8 by 2 (5) |              112 |        97.8 % | 0         | 2         |'
        in text
    )
    assert '| 5     |        5 | is an output of the model |' in text
    assert '| full     |  916 |        109 |' in text
    assert '10^1.3 widths (10^1.5 without bins)' in text


def test_the_name_is_the_class_by_default(family):
    assert inspect_space(family('squeezenet1_1')).name == 'SqueezeNet'
