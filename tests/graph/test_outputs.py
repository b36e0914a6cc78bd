"""Outputs that count, by name and by function, and what is left free by the others."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from nni_cafenet import WidthSpace
from nni_cafenet.errors import OutputsError

X = torch.randn(2, 6)


class ModelOutput(OrderedDict):
    """As in transformers: an ordered dictionary with attributes."""


@dataclass
class LanguageOutput(ModelOutput):
    logits: Tensor | None = None
    past_key_values: tuple | None = None
    hidden_states: tuple | None = None

    def __post_init__(self):
        self.update({name: value for name, value in vars(self).items() if value is not None})


class Net(nn.Module):
    """Two hidden layers, both of which are returned beside the logits."""

    def __init__(self, form: str = 'ModelOutput') -> None:
        super().__init__()
        self.form = form
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x):
        first = self.a(x).relu()
        second = self.b(first).relu()
        logits = self.head(second)
        if self.form == 'ModelOutput':
            return LanguageOutput(logits, past_key_values=((first, second),), hidden_states=(first,))
        if self.form == 'base':
            return LanguageOutput(None, past_key_values=((first, second),), hidden_states=(first,))
        if self.form == 'dict':
            return {'logits': logits, 'aux': [first, {'second': second}]}
        return logits, (first, second)


def fixed(space: WidthSpace) -> dict[str, str]:
    return {record.label: record.reason for record in space.graph.fixed}


@pytest.mark.parametrize(
    ('form', 'outputs', 'labels'),
    [
        ('ModelOutput', None, ['a', 'b']),
        ('ModelOutput', ['hidden_states', 'logits'], ['b']),
        ('ModelOutput', ['logits', '.past_key_values[0][1]'], ['a']),
        ('base', ['past_key_values[0][1]'], ['a', 'head']),
        ('dict', ['logits'], ['a', 'b']),
        ('dict', ["['aux'][1]", 'logits'], ['a']),
        ('tuple', ['0'], ['a', 'b']),
        ('tuple', ['[0]', '[1][0]'], ['b']),
        ('tuple', lambda output: output[0], ['a', 'b']),
    ],
)
def test_only_the_outputs_that_count_keep_their_sizes(form, outputs, labels):
    space = WidthSpace(Net(form), example_input=X, outputs=outputs)
    assert list(space.labels) == labels
    widths = dict.fromkeys(labels, 2)
    space.activate(widths)
    wanted, found = (space.example_input.outputs_in(model(X)) for model in (space, space.slim(widths)))
    assert [path for path, _ in wanted] == [path for path, _ in found]
    for (_, one), (_, other) in zip(wanted, found):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ('form', 'path'),
    [('ModelOutput', '.logits'), ('dict', "['logits']"), ('tuple', '[0]'), ('base', '.hidden_states[0]')],
)
def test_reasons_name_the_output(form, path):
    space = WidthSpace(Net(form), example_input=X, outputs=[path])
    assert fixed(space) == {'a' if form == 'base' else 'head': f'is an output of the model ({path})'}


def test_an_output_that_the_model_does_not_return():
    with pytest.raises(OutputsError, match=r"no 'logit'\. It returns logits, past_key_values\[0\]\[0\]"):
        WidthSpace(Net(), example_input=X, outputs=['logit'])
    with pytest.raises(OutputsError, match='the function returns no tensor'):
        WidthSpace(Net(), example_input=X, outputs=lambda output: None)


@pytest.mark.parametrize(('outputs', 'error'), [('logits', TypeError), ([1], TypeError), ([], ValueError)])
def test_outputs_of_another_form(outputs, error):
    with pytest.raises(error, match='outputs='):
        WidthSpace(Net(), example_input=X, outputs=outputs)
