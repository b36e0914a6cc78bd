"""What a width space is made of, as text."""

from __future__ import annotations

import dataclasses

import nni
import nni.nas.strategy
import pytest
from nni.nas.nn.pytorch import ModelSpace, MutableLinear

from nni_cafenet import WidthMutator, inspect_space
from nni_cafenet.report.inspection import (
    ChoiceRecord,
    FixedRecord,
    GroupRecord,
    Inspection,
    inspection_csv,
    inspection_text,
)

GROUP = GroupRecord('conv1', 100, 32, (10, 32, 64, 96, 100), 5_000_000, 0.25, 50_000, ('conv1',), ('conv2', 'fc'), ())
FOUND = Inspection('net', ((1, 3, 8, 8), (1, 2)), (GROUP,), (), (), 20_000_000, 1000, 200_000, 10, 0.7, 2.0)


def cells(text: str, label: str) -> list[str]:
    (row,) = (line for line in text.splitlines() if line.startswith(f'| {label} '))
    return [cell.strip() for cell in row.split('|')[1:-1]]


def test_the_first_line():
    assert inspection_text(FOUND).startswith('net, input (1, 3, 8, 8) and (1, 2): 1 channel groups\n')


def test_a_row_is_short():
    assert cells(inspection_text(FOUND), 'conv1') == [
        *('conv1', '100', '32', '10, 32, 64, 96, 100 (5)', '50,000', '25.0 %', 'conv1', 'conv2 and 1 more')
    ]


@pytest.mark.parametrize(
    ('widths', 'step', 'shown'),
    [
        ((1, 2, 3, 4), 1, '1 to 4 by 1 (4)'),
        ((7, *range(8, 65, 8)), 8, '7, 8 to 64 by 8 (9)'),
        ((*range(8, 65, 8), 70), 8, '8 to 64 by 8, 70 (9)'),
        ((3, *range(4, 21, 4), 22), 4, '3, 4 to 20 by 4, 22 (7)'),
        ((64,), 32, '64 (1)'),
        ((5, 8, 16), 8, '5, 8, 16 (3)'),
    ],
)
def test_widths_are_compact_and_complete(widths, step, shown):
    group = dataclasses.replace(GROUP, bin=step, widths=widths)
    assert cells(inspection_text(dataclasses.replace(FOUND, groups=(group,))), 'conv1')[3] == shown


def test_what_is_fixed_and_why():
    assert 'Fixed output channels: none' in inspection_text(FOUND)
    text = inspection_text(dataclasses.replace(FOUND, fixed=(FixedRecord('fc', 10, 'is an output of the model'),)))
    assert cells(text, 'fc') == ['fc', '10', 'is an output of the model']


def test_totals_and_the_size_of_the_space():
    text = inspection_text(FOUND)
    assert cells(text, 'full') == ['full', '20,000,000', '1,000']
    assert cells(text, 'smallest') == ['smallest', '200,000', '10']
    assert text.endswith('has 1.00 % of the MACs. The space contains 10^0.7 widths (10^2.0 without bins).')


def test_csv():
    assert inspection_csv(FOUND) == (
        'label,width,bin,widths,macs,share,macs_per_channel,producers,consumers,others\n'
        'conv1,100,32,10 32 64 96 100,5000000,0.25,50000,conv1,conv2 fc,\n'
    )


def test_choices_of_an_nni_space():
    found = inspect_space(WidthMutator().mutate(Choices, example_input=(1, 3)))
    assert found.choices == (
        ChoiceRecord('a', (2, 8, 16, 32), ('first', 'third')),
        ChoiceRecord('b', (1, 2), ('second',)),
    )
    text = str(found)
    assert '| a      | 2, 8, 16, 32 | first, third |' in text
    assert '2, 8, 16, 32 (4)' in text  # no regular steps
    assert found.to_dict()['choices'][1]['label'] == 'b'


class Choices(ModelSpace):
    def __init__(self):
        super().__init__()
        a, b = nni.choice('a', [2, 8, 16, 32]), nni.choice('b', [1, 2])
        self.first, self.second, self.third = MutableLinear(3, a), MutableLinear(a, b * 4), MutableLinear(b * 4, a)
        self.last = MutableLinear(a, 2)

    def forward(self, x):
        return self.last(self.third(self.second(self.first(x))))
