from __future__ import annotations

import numpy as np

from nni_cafenet.analysis.constraints import Constraints, CostTerm, Symbol


def test_identities_are_new_every_time():
    constraints = Constraints()
    assert constraints.new(3).tolist() == [0, 1, 2]
    assert constraints.new(2).tolist() == [3, 4]
    assert constraints.count == 5


def test_a_parameter_is_registered_once_and_dimensions_of_one_never_change():
    constraints = Constraints()
    weight = constraints.parameter('weight', (4, 1, 3))
    assert constraints.parameter('weight', (4, 1, 3)) is weight
    assert weight.shape == (4, 1, 3)
    assert [None if dim is None else len(dim) for dim in weight.dims] == [4, None, 3]
    assert constraints.count == 7
    assert weight.tracked
    assert not Symbol.constant((4, 1)).tracked


def test_agreement_joins_position_by_position():
    constraints = Constraints()
    left, right, third = constraints.new(3), constraints.new(3), constraints.new(2)
    assert constraints.same(left, right, '') is left
    constraints.same(right[1:], third, '')
    component = constraints.component_of()
    # 0-3, 1-4-6, 2-5-7
    assert component[0] == component[3]
    assert component[1] == component[4] == component[6]
    assert component[2] == component[5] == component[7]
    assert len(np.unique(component)) == 3


def test_nothing_said_leaves_everything_apart():
    constraints = Constraints()
    constraints.new(4)
    assert constraints.component_of().tolist() == [0, 1, 2, 3]


def test_agreement_with_a_fixed_dimension_fixes():
    constraints = Constraints()
    dim = constraints.new(2)
    assert constraints.same(dim, None, 'first') is None
    assert constraints.same(None, dim, 'second') is None
    assert constraints.same(None, None, 'third') is None
    assert [(ids.tolist(), reason) for ids, reason in constraints.fixed] == [([0, 1], 'first'), ([0, 1], 'second')]
    assert constraints.pairs == []


def test_a_dimension_without_identities_gets_fixed_ones():
    constraints = Constraints()
    dim = constraints.new(2)
    assert constraints.ids_or_fixed(dim, 2) is dim
    assert constraints.fixed == []
    assert constraints.ids_or_fixed(None, 3).tolist() == [2, 3, 4]
    assert [(ids.tolist(), reason) for ids, reason in constraints.fixed] == [([2, 3, 4], '')]


def test_costs_are_a_constant_times_the_sizes_that_may_change():
    constraints = Constraints()
    dim = constraints.new(4)
    constraints.add_cost('aten.linear', 3, [(5, None), (4, dim), (2, None)])
    assert constraints.costs == [CostTerm('aten.linear', 30, (dim,))]
    constraints.add_cost('aten.linear', 0, [(4, dim)])
    assert len(constraints.costs) == 1
