from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from nni_cafenet.search.temperature import scale_of


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-50, 50))
def test_the_scale_follows_that_of_the_logits_and_not_their_offset(seed, factor, offset):
    logits = torch.randn(40, 5, generator=torch.Generator().manual_seed(seed))
    expected = logits.double().std(1, unbiased=False).mean()
    assert float(scale_of(logits, 1)) == pytest.approx(float(expected), rel=1e-4)
    assert float(scale_of(factor * logits + offset, 1)) == pytest.approx(float(factor * expected), rel=1e-2)


def test_the_dimension_of_classes_is_that_of_the_loss():
    pixels = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    assert scale_of(pixels, 1) == pytest.approx(float(pixels.std(1, unbiased=False).mean()))
    assert scale_of(pixels.movedim(1, 3), 3) == pytest.approx(float(scale_of(pixels, 1)))


def test_independent_labels_have_a_root_mean_square():
    assert scale_of(torch.tensor([[3.0, -4.0]]), None) == pytest.approx(12.5**0.5)
    assert scale_of(torch.tensor([[3.0], [-4.0]]), None) == pytest.approx(12.5**0.5)


@pytest.mark.parametrize('mask', [-torch.inf, -1e9, torch.finfo(torch.float32).min])
def test_masked_classes_are_left_out(mask):
    logits = torch.tensor([[1.0, 3.0, mask], [0.0, 4.0, mask]])
    assert scale_of(logits, 1) == pytest.approx(1.5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    logits = torch.tensor([[100.0, 300.0], [0.0, 400.0]], dtype=dtype)
    assert scale_of(logits, 1) == pytest.approx(150)


def test_logits_that_are_all_the_same_can_be_divided():
    assert torch.isfinite(torch.ones(4, 3) / scale_of(torch.ones(4, 3), 1)).all()
    assert torch.isfinite((torch.ones(4, 3) / scale_of(torch.ones(4, 3), 1).half()).half()).all()
