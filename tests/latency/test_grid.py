from __future__ import annotations

import json

import numpy as np

from nni_cafenet.latency.grid import Region, grid_of, terms_of
from nni_cafenet.latency.recorded_ops import tensor_sizes
from nni_cafenet.latency.symbolic_sizes import SymbolicOp

REGION = Region({'a': (2, 4, 8), 'b': (1, 3), 'c': (5, 6, 7, 8, 9)}, points=3)


def follower(name, *shapes):
    """An operator on tensors, whose sizes are given as (fixed, a, b, c)."""
    tensors = [
        {
            '.tensor': 'float32',
            'shape': [0] * len(shape),
            'order': ','.join(map(str, range(len(shape)))),
            'expanded': '',
        }
        for shape in shapes
    ]
    rows = np.array([size for shape in shapes for size in shape])
    return SymbolicOp(name, [tensors, {}], rows[:, 0], rows[:, 1:])


def shapes(operator):
    return tensor_sizes(json.loads(operator.arguments))


def test_a_constant_operator_is_measured_once():
    grid = grid_of(follower('relu', [(3, 0, 0, 0)]), REGION)
    assert grid.axes == ()
    assert [shapes(each) for each in grid.operators] == [[[3]]]
    assert terms_of([grid, grid], lambda operator: 70) == (140, [])


def test_an_operator_of_two_widths_is_measured_at_all_pairs_of_allowed_ones():
    grid = grid_of(follower('mm', [(1, 0, 0, 0), (0, 1, 0, 0)], [(0, 1, 0, 0), (0, 0, 1, 0)]), REGION)
    assert [points.tolist() for points in grid.points] == [[2, 4, 8], [1, 3]]
    assert [shapes(each) for each in grid.operators] == [[[1, a], [a, b]] for a in (2, 4, 8) for b in (1, 3)]


def test_multiples_and_constants_do_not_make_an_axis():
    grid = grid_of(follower('fc', [(0, 49, 0, 0), (7, 2, 0, 0)]), REGION)
    assert [points.tolist() for points in grid.points] == [[2, 4, 8]]
    assert [shapes(each) for each in grid.operators] == [[[49 * a, 7 + 2 * a]] for a in (2, 4, 8)]


def test_a_sum_of_widths_is_one_axis():
    grid = grid_of(follower('norm', [(0, 1, 0, 2)]), REGION)
    assert [points.tolist() for points in grid.points] == [[12, 19, 26]]  # 2 + 2 * 5 to 8 + 2 * 9
    assert grid.axes[0].at({'a': np.array([4]), 'c': np.array([6])}).tolist() == [16]


def test_more_widths_are_tabulated_by_elements_on_the_way_to_the_full_network():
    grid = grid_of(follower('cat', [(2, 0, 0, 0), (0, 1, 0, 0)], [(0, 0, 1, 0)], [(0, 0, 0, 1)]), REGION)
    assert [shapes(each) for each in grid.operators] == [
        [[2, 2], [1], [5]],
        [[2, 5], [2], [7]],
        [[2, 8], [3], [9]],
    ]
    assert [points.tolist() for points in grid.points] == [[10, 19, 28]]


def test_a_tensor_that_shrinks_is_not_measured_and_another_number_may():
    pad = follower('pad', [(9, -1, 0, 0)])
    assert grid_of(pad, REGION) is None
    tensor = {'.tensor': 'float32', 'shape': [0], 'order': '0', 'expanded': ''}
    number = SymbolicOp('pad', [[tensor, 0], {}], np.array([0, 8]), np.array([[1, 0, 0], [-1, 0, 0]]))
    grid = grid_of(number, REGION)
    assert [points.tolist() for points in grid.points] == [[2, 5, 8]]
    assert [json.loads(each.arguments)[0][1] for each in grid.operators] == [6, 3, 0]


def test_terms_of_the_same_axes_are_added_up():
    mm = follower('mm', [(0, 1, 0, 0)])
    norm = follower('norm', [(3, 1, 0, 0)])
    other = follower('mm', [(0, 0, 0, 1)])
    grids = [grid_of(each, REGION) for each in (mm, norm, other)]
    constant, terms = terms_of(grids, lambda operator: 10 * sum(shapes(operator)[0]))
    assert constant == 0
    assert [term.times.tolist() for term in terms] == [[70, 110, 190], [50, 70, 90]]
