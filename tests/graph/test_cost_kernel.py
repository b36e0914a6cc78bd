from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nni_cafenet.graph.cost import CostModel, Polynomial
from nni_cafenet.graph.cost_kernel import EXACT_IN_DOUBLE, CompiledCost, largest_width, merge_products

NOTHING = Polynomial(np.zeros(0, np.int64), np.zeros((0, 0), np.int64))


@st.composite
def cost_models(draw, degree: int) -> CostModel:
    """Any cost model: products of up to four sizes, some of which vanish, with constants of both signs."""
    sizes, groups = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    number = draw(st.integers(0, 12))
    factors = rng.integers(-1, sizes, size=(number, degree))
    constants = rng.integers(-50, 1000, size=number)
    return CostModel(
        weights=rng.integers(0, 4, size=(sizes, groups)) * rng.integers(0, 2, size=(sizes, groups)),
        fixed=rng.integers(0, 3, size=sizes),
        macs=Polynomial(constants, factors),
        params=NOTHING,
        vanishing=draw(st.sampled_from([None, rng.integers(0, 2, size=sizes) > 0])),
    )


def plain(cost: CostModel, widths) -> list[int]:
    """The definition, in integers without limit."""
    return cost.macs(cost.sizes(widths.astype(object))).tolist()


@given(data=st.data(), kind=st.sampled_from([(4, 1), (4, 30), (3, 1000), (2, 10**6)]), rows=st.integers(0, 5))
def test_many_widths_cost_what_the_definition_says(data, kind, rows):
    degree, most = kind
    cost, seed = data.draw(cost_models(degree)), data.draw(st.integers(0, 99))
    widths = np.random.default_rng(seed).integers(0, most + 1, size=(rows, cost.weights.shape[1]))
    found = cost.macs_of(widths)
    assert found.dtype == np.int64
    assert found.tolist() == plain(cost, widths)
    assert cost.params_of(widths).tolist() == [0] * rows


@given(cost=cost_models(2), seed=st.integers(0, 99))
def test_up_to_the_last_width_that_is_exact_in_doubles(cost, seed):
    compiled = CompiledCost(
        merge_products(cost.macs.constants, cost.macs.factors), cost.weights, cost.fixed, cost.vanishing
    )
    most = min(compiled.largest, 2**31)
    groups = cost.weights.shape[1]
    widths = np.vstack([np.full((2, groups), most), np.random.default_rng(seed).integers(0, most + 1, (20, groups))])
    assert compiled(widths).tolist() == plain(cost, widths)
    assert cost.macs_of(widths + 1).tolist() == plain(cost, widths + 1)  # in integers, where doubles would round


def test_products_of_the_same_sizes_are_one():
    # 5 + 2 s0 s1 + 3 s1 s0 + 1
    polynomial = np.array([5, 2, 3, 1]), np.array([[-1, -1], [0, 1], [1, 0], [-1, -1]])
    assert merge_products(*polynomial) == {(): 6, (0, 1): 5}


def test_the_largest_width_by_hand():
    # 3 s0 s0 - 2 s0 with s0 = 2 w + 1: the parts are at most 3 (2w+1)^2 + 2 (2w+1): 85 at w = 2, 161 at w = 3
    products, weights, fixed = {(0, 0): 3, (0,): -2}, np.array([[2]]), np.array([1])
    assert [largest_width(products, weights, fixed, limit) for limit in (4, 5, 84, 85, 160, 161)] == [-1, 0, 1, 2, 2, 3]


def test_a_size_of_nothing_hides_no_overflow():
    # 7 s0 s1 with s1 = 0 costs nothing, but 7 s0 is computed on the way.
    assert largest_width({(0, 1): 7}, np.array([[1], [0]]), np.array([0, 0]), 70) == 10


@pytest.mark.parametrize('width', [2**26, 2**26 + 1, 94_906_266, 10**9 + 1, 3_037_000_499])
def test_beyond_doubles_costs_are_computed_in_integers(width):
    square = CostModel(np.array([[1]]), np.array([0]), Polynomial(np.array([1]), np.array([[0, 0]])), NOTHING)
    assert (square._compiled_macs.largest + 1) ** 2 > EXACT_IN_DOUBLE >= square._compiled_macs.largest**2
    assert square.macs_of(np.array([[width], [3]])).tolist() == [width**2, 9]


def test_costs_that_int64_cannot_hold():
    cubes = CostModel(
        np.array([[1]]), np.array([0]), Polynomial(np.array([1, -1]), np.array([[0, 0, 0], [0, 0, 0]])), NOTHING
    )
    assert cubes.macs_of(np.array([[10**7]])).tolist() == [0]  # on the way it is more than 2**63
    cube = CostModel(np.array([[1]]), np.array([0]), Polynomial(np.array([1]), np.array([[0, 0, 0]])), NOTHING)
    with pytest.raises(
        OverflowError, match=r'widths: up to 10000000 channels cost 1e\+21, beyond 2\*\*63; give smaller'
    ):
        cube.macs_of(np.array([[10**7]]))


def test_a_used_cost_model_pickles():
    cost = CostModel(np.array([[1]]), np.array([2]), Polynomial(np.array([3]), np.array([[0]])), NOTHING)
    widths = np.arange(5000)[:, None]
    expected = [3 * (width + 2) for width in range(5000)]  # more than one chunk
    assert cost.macs_of(widths).tolist() == expected
    assert pickle.loads(pickle.dumps(cost)).macs_of(widths).tolist() == expected
