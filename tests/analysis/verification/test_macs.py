"""MACs that are counted in passing are those of torch's counter."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.verification.macs import PassingCounter, flop_counter, without_fused_attention


def both(model, *inputs):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    with torch.no_grad(), PassingCounter() as passing:
        model(*inputs)
    return passing.macs, counter.get_total_flops() // 2


def test_hand_worked():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    # 4 x 4 places of 3 * 9 * 4, then 64 * 5, for two pictures.
    assert both(model, torch.rand(2, 3, 6, 6)) == (2 * (16 * 108 + 320), 2 * (16 * 108 + 320))


@pytest.mark.parametrize(
    ('model', 'shape'),
    [
        (nn.Conv2d(4, 6, 3, groups=2, stride=2), (1, 4, 9, 9)),
        (nn.ConvTranspose2d(4, 6, 3), (1, 4, 5, 5)),
        (nn.Bilinear(3, 4, 5), (2, 3)),
        (nn.GRU(3, 4), (5, 2, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_as_torch_counts(model, shape):
    inputs = [torch.rand(shape)]
    if isinstance(model, nn.Bilinear):
        inputs.append(torch.rand(2, 4))
    passing, whole = both(model.eval(), *inputs)
    assert passing == whole


def test_products_written_in_python():
    class Products(nn.Module):
        def forward(self, x):
            return torch.einsum('bij,bkj->bik', x, x).softmax(-1) @ x

    passing, whole = both(Products(), torch.rand(2, 3, 5))
    assert passing == whole == 2 * (3 * 5 * 3 + 3 * 3 * 5)


def test_fused_recurrent_kernels_are_counted_by_their_matrices():
    model = nn.LSTM(3, 4, 2, bidirectional=True).eval()  # in float32, oneDNN runs it where it is compiled in
    x = torch.rand(5, 2, 3)
    with torch.no_grad(), PassingCounter() as passing, flop_counter() as counter:
        model(x)
    by_hand = 5 * 2 * 2 * (16 * 3 + 16 * 4 + 16 * 8 + 16 * 4)
    assert passing.macs == counter.get_total_flops() // 2 == by_hand
    shapes = [torch.empty(shape, device='meta') for shape in ((16, 3), (16, 4), (16,), (16,))]
    formula = flop_counter().flop_registry[torch.ops.aten._cudnn_rnn]
    assert formula(torch.empty(5, 2, 3, device='meta'), shapes, 4) == 2 * 10 * (16 * 3 + 16 * 4)


def test_a_fused_layer_of_attention_is_not_counted():
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.rand(1, 4, 8)
    with torch.no_grad(), PassingCounter() as counter:
        layer(x, x, x, need_weights=False)
    assert counter.macs is None


def test_nothing_is_none_of_it():
    with PassingCounter() as counter:
        torch.ones(3) + 1
    assert counter.macs == 0


class Absorbing(nn.Module):
    """As OPT: heads of a fixed size, and rows whose number is left open and may take up the channels left out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.proj, self.head = nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.made = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

    def forward(self, x):
        x = self.embed(x)
        query, key, value = (layer(x).view(len(x), -1, 4, 4).transpose(1, 2) for layer in self.made)
        made = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).contiguous()
        return self.head(x + self.proj(made.reshape(*x.shape[:2], -1)))


def test_channels_that_become_rows_without_an_error_are_found(caplog):
    space = WidthSpace(Absorbing(), example_input=(1, 8, 5))
    assert not [record for record in caplog.records if 'cost model differ' in record.message]
    widths = dict.fromkeys(space.labels, 1)
    slim, x = space.slim(widths), torch.randn(1, 8, 5)
    with FlopCounterMode(display=False) as counter, without_fused_attention(), torch.no_grad():
        slim.eval()(x)
    assert space.macs(widths) == counter.get_total_flops() // 2


@pytest.mark.parametrize('heads', [1, 4])
def test_a_fused_kernel_of_attention_is_counted_as_its_two_products(heads):
    query, key, value = (torch.randn(2, heads, rows, size) for rows, size in ((6, 8), (7, 8), (7, 8)))
    with PassingCounter() as counter:
        nn.functional.scaled_dot_product_attention(query, key, value)
    assert counter.macs == 2 * heads * 6 * 7 * (8 + 8)
