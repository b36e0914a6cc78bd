"""Attention outside of residual sums: its inside is as wide as what it reads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
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


class HandWritten(nn.Module):
    """Attention that takes its sizes from its input, as most models write it; one layer for all three, or three."""

    def __init__(self, outputs: int, layers: int) -> None:
        super().__init__()
        self.made = nn.ModuleList(nn.Linear(WIDTH, WIDTH * 3 // layers) for _ in range(layers))
        self.proj = nn.Linear(WIDTH, outputs)

    def forward(self, x):
        batch, rows, width = x.shape
        if len(self.made) == 3:
            q, k, v = (layer(x).reshape(batch, rows, HEADS, width // HEADS).transpose(1, 2) for layer in self.made)
        else:
            q, k, v = self.made[0](x).reshape(batch, rows, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.proj(found.transpose(1, 2).reshape(batch, rows, width))


class Pool(nn.Module):
    """Attention by torch's function, on the weights of linear layers: the first token attends to all."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.proj = nn.Linear(WIDTH, outputs)

    def forward(self, x):
        x = x.transpose(0, 1)
        layers = (self.q, self.k, self.v)
        made = F.multi_head_attention_forward(
            *(
                x[:1],
                x,
                x,
                x.shape[-1],
                HEADS,
                None,
                torch.cat([layer.bias for layer in layers]),
                None,
                None,
                False,
                0.0,
            ),
            *(self.proj.weight, self.proj.bias),
            need_weights=False,
            use_separate_proj_weight=True,
            **{f'{name}_proj_weight': getattr(self, name).weight for name in 'qkv'},
        )
        return made[0].transpose(0, 1)


@pytest.mark.parametrize('outputs', [WIDTH, 12])
@pytest.mark.parametrize('attention', [lambda n: HandWritten(n, 1), lambda n: HandWritten(n, 3), Pool])
def test_attention_that_takes_its_size_from_its_input(attention, outputs):
    model = nn.Sequential(nn.Linear(6, WIDTH), nn.ReLU(), attention(outputs), nn.ReLU(), nn.Linear(outputs, 3)).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    space = WidthMutator().mutate(model, example_input=x)
    assert space.full_widths == {'0': WIDTH // HEADS, '2.proj': outputs}
    exact(space, x)


def test_attention_inside_and_outside_of_a_residual_sum():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(6, WIDTH)
            self.block = HandWritten(WIDTH, 3)
            self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x):
            x = self.stem(x)
            x = x + self.block(x)
            return self.head(self.attend(x, x, x, need_weights=False)[0])

    x = torch.randn(2, 5, 6, dtype=torch.float64)
    space = WidthMutator().mutate(Both().double(), example_input=x)
    assert space.full_widths == {'stem': WIDTH // HEADS, 'attend.out_proj': WIDTH}
    exact(space, x)


def test_a_layer_that_makes_queries_and_keys_beside_one_for_values():
    class Positional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qk, self.v, self.proj = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            batch, rows, width = x.shape
            q, k = self.qk(x).reshape(batch, rows, 2, HEADS, width // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
            v = self.v(x).reshape(batch, rows, HEADS, width // HEADS).transpose(1, 2)
            shares = (q @ k.transpose(-2, -1) * 0.5).softmax(-1)
            return x + self.proj((shares @ v).transpose(1, 2).reshape(batch, rows, width))

    model = nn.Sequential(nn.Linear(6, WIDTH), Positional(), nn.Linear(WIDTH, 3)).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    space = WidthMutator().mutate(model, example_input=x)
    assert space.full_widths == {'0': WIDTH // HEADS}
    exact(space, x)


class ChannelsFirst(nn.Module):
    """Attention of pictures with narrow keys, and a depthwise convolution of the values beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.head_dim, self.key_dim = WIDTH // HEADS, WIDTH // HEADS // 2
        self.qkv = nn.Conv2d(WIDTH, WIDTH + 2 * HEADS * self.key_dim, 1)
        self.around = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.proj = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x):
        batch, width, height, length = x.shape
        made = self.qkv(x).view(batch, HEADS, 2 * self.key_dim + self.head_dim, height * length)
        q, k, v = made.split([self.key_dim, self.key_dim, self.head_dim], dim=2)
        found = v @ (q.transpose(-2, -1) @ k).softmax(-1).transpose(-2, -1)
        return self.proj(
            found.view(batch, width, height, length) + self.around(v.reshape(batch, width, height, length))
        )


class Lambdas(nn.Module):
    """A linear form of attention: what keys and values make together is applied to the queries of each head."""

    def __init__(self) -> None:
        super().__init__()
        self.key_dim, self.value_dim = 6, WIDTH // HEADS
        self.qkv = nn.Conv2d(WIDTH, HEADS * self.key_dim + self.key_dim + self.value_dim, 1)
        self.proj = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x):
        batch, width, height, length = x.shape
        q, k, v = self.qkv(x).split([HEADS * self.key_dim, self.key_dim, self.value_dim], dim=1)
        q = q.reshape(batch, HEADS, self.key_dim, -1).transpose(-1, -2)
        content = k.flatten(2).softmax(-1) @ v.flatten(2).transpose(-1, -2)
        return self.proj((q @ content.unsqueeze(1)).transpose(-1, -2).reshape(batch, width, height, length))


@pytest.mark.parametrize(
    ('attention', 'inside'),
    [(ChannelsFirst, {'1.qkv': WIDTH // HEADS // 2}), (Lambdas, {'1.qkv': 6})],
)
@pytest.mark.parametrize('residual', [True, False])
def test_attention_of_pictures_inside_a_convolutional_network(attention, inside, residual):
    class Sum(attention):
        def forward(self, x):
            return x + super().forward(x)

    block = Sum() if residual else attention()
    model = nn.Sequential(
        nn.Conv2d(3, WIDTH, 3), block, nn.Conv2d(WIDTH, 5, 3), nn.Flatten(), nn.Linear(20, 3)
    ).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    space = WidthMutator().mutate(model, example_input=x)
    own = {} if residual else {'1.proj': WIDTH}
    assert space.full_widths == {'0': WIDTH // HEADS, **inside, **own, '2': 5}
    exact(space, x)


class Pooled(nn.Module):
    """As SigLIP: attention by hand, which may drop heads of its own, and a pooling ``nn.MultiheadAttention`` after it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.made, self.proj = nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.probe, self.pool = (
            nn.Parameter(torch.randn(1, 1, WIDTH)),
            nn.MultiheadAttention(WIDTH, HEADS, batch_first=True),
        )
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = self.embed(x)
        query, key, value = self.made(x).unflatten(-1, (3, -1, WIDTH // HEADS)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return self.head(self.pool(self.probe.expand(len(x), -1, -1), x, x)[0])


def test_only_the_attention_that_needs_it_is_tied():
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    space = WidthMutator().mutate(Pooled().double(), example_input=x)
    assert space.full_widths == {'embed': WIDTH // HEADS, 'made': HEADS, 'pool.out_proj': WIDTH}
    exact(space, x)
