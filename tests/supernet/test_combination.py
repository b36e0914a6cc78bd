from __future__ import annotations

import math

import pytest

from nni_cafenet import SoftMin
from nni_cafenet.supernet.combination import Combination, Mean, Min


def test_weights():
    assert Min().weights([2.0, 1.0, 1.0]) == [0, 1, 0]
    assert Mean().weights([2.0, 1.0]) == [0.5, 0.5]
    # softmax(-2, -1) = 1 / (1 + e), e / (1 + e)
    assert SoftMin(1.0).weights([2.0, 1.0]) == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert SoftMin(1e-4).weights([2.0, 1.0]) == pytest.approx(Min().weights([2.0, 1.0]))
    assert SoftMin(1e4).weights([2.0, 1.0]) == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize('combination', [Min(), Mean(), SoftMin()])
def test_what_is_not_a_number_weighs_nothing(combination):
    assert combination.weights([math.nan, 1.0]) == [0, 1]
    assert sum(combination.weights([math.nan])) in (0, 1)


def test_names():
    assert Combination.of('min') == Min()
    assert Combination.of('mean') == Mean()
    assert Combination.of('softmin') == SoftMin(0.1)
    assert Combination.of(SoftMin(2)) == SoftMin(2)
    for wrong in ('max', None, 3):
        with pytest.raises(ValueError, match='combine='):
            Combination.of(wrong)
    for wrong in (0, -1, math.inf, True, '1'):
        with pytest.raises(ValueError, match='temperature='):
            SoftMin(wrong)
