from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn.functional import cross_entropy

from nni_cafenet.search.temperature import FIT_GRID, fit_temperature


def losses_of(logits, labels):
    return {temperature: float(cross_entropy(logits / temperature, labels)) for temperature in FIT_GRID}


@given(st.integers(0, 10**6), st.floats(1, 5), st.floats(0.6, 3))
def test_the_fitted_temperature_has_the_smallest_loss(seed, classes, scale):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (400,), generator=rng)
    logits = torch.randn(400, 3, generator=rng, dtype=torch.float64)
    logits[range(400), labels] += classes / 2
    logits *= scale
    found, loss = fit_temperature(losses_of(logits, labels))
    fine = {t: float(cross_entropy(logits / t, labels)) for t in np.geomspace(FIT_GRID[0], FIT_GRID[-1], 400)}
    best = min(fine, key=fine.get)
    assert loss == pytest.approx(fine[best], abs=2e-3)
    assert math.log(found) == pytest.approx(math.log(best), abs=0.1)


def test_at_a_border_the_loss_is_that_of_the_border():
    assert fit_temperature({1.0: 1.0, 2.0: 2.0, 4.0: 3.0}) == pytest.approx((1.0, 1.0))
    assert fit_temperature({1.0: 3.0, 2.0: 2.0, 4.0: 1.0}) == pytest.approx((4.0, 1.0))


def test_losses_without_a_number():
    assert all(map(math.isnan, fit_temperature({1.0: math.nan, 2.0: 1.0})))
    assert fit_temperature({1.0: math.inf, 2.0: 1.0, 4.0: 2.0}) == (2.0, 1.0)
    temperature, loss = fit_temperature(dict.fromkeys(FIT_GRID, 1.0))
    assert FIT_GRID[0] <= temperature <= FIT_GRID[-1]
    assert loss == pytest.approx(1)
