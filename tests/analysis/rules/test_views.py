"""Windows, diagonals, triangles and turns of maps leave channels free."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize(
    'function',
    [
        lambda net, y: F.pad(y, [1, 1]).unfold(3, 3, 1).mean(-1),
        lambda net, y: y.tril() + y.rot90(1, (2, 3)),
        lambda net, y: y * y.diagonal(dim1=2, dim2=3)[..., None] + torch.diag_embed(y[..., 0]),
        lambda net, y: F.pad(y.diff(dim=3), [0, 1]) + torch.trapezoid(y, dim=3)[..., None],
        lambda net, y: y * F.one_hot(y.argmax(3), 6).to(y.dtype),
    ],
)
def test_channels_pass(widths_of, function):
    assert widths_of(function) == {'a': 4, 'b': 5}


def test_windows_of_channels_keep_them(widths_of):
    assert widths_of(lambda net, y: y.unfold(1, 2, 2).sum(-1), 2) == {'b': 5}
