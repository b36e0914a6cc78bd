"""``nn.MultiheadAttention`` outside of residual sums: its inside is as wide as its query."""

from __future__ import annotations

import pytest
import torch
from helpers.contracts import exact
from torch import nn

from nni_cafenet import WidthMutator

HEADS, WIDTH = 4, 16


class Attends(nn.Module):
    """Layers that make query, key and value, attention, and a head."""

    def __init__(self, inputs: str, batch_first: bool, **options) -> None:
        super().__init__()
        self.inputs = inputs
        sizes = {'q': WIDTH, 'k': options.get('kdim', WIDTH), 'v': options.get('vdim', WIDTH)}
        for name in dict.fromkeys(inputs):
            setattr(self, name, nn.Linear(6, sizes[name]))
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first, **options)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        made = {name: getattr(self, name)(x) for name in dict.fromkeys(self.inputs)}
        query, key, value = (made[name] for name in self.inputs)
        return self.head(self.attend(query, key, value)[0])


@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize(
    ('inputs', 'options', 'groups'),
    [
        ('qqq', {}, {'q': WIDTH // HEADS}),
        ('qkk', {}, {'q': WIDTH // HEADS}),
        ('qkv', {}, {'q': WIDTH // HEADS}),
        ('qkv', {'kdim': 12, 'vdim': 10}, {'q': WIDTH // HEADS, 'k': 12, 'v': 10}),
        ('qkv', {'bias': False}, {'q': WIDTH // HEADS}),
    ],
    ids=['self', 'cross', 'three', 'other sizes', 'no bias'],
)
def test_the_embedding_can_change(inputs, options, groups, batch_first):
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    space = WidthMutator().mutate(Attends(inputs, batch_first, **options).double(), example_input=x)
    assert space.full_widths == {**groups, 'attend.out_proj': WIDTH}
    assert [fixed.label for fixed in space.graph.fixed] == ['head']
    for seed in range(2):
        widths = dict.fromkeys(space.labels, 1 + seed)
        assert space.slim(widths).attend.embed_dim == HEADS * (1 + seed)
    if batch_first:
        exact(space, x)


def test_attention_at_the_root():
    class Whole(nn.MultiheadAttention):
        def forward(self, x):
            return super().forward(x, x, x)[0]

    x = torch.randn(2, 5, 8)
    with pytest.raises(ValueError, match='can change|no channel'):
        WidthMutator().mutate(Whole(8, 2, batch_first=True), example_input=x)
