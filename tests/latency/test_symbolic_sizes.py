from __future__ import annotations

import json

import numpy as np

from nni_cafenet.latency.recorded_ops import Operator
from nni_cafenet.latency.symbolic_sizes import find_symbolic_ops, probes

SMALLEST, FULL = np.array([2, 3]), np.array([10, 9])


def operator(name: str, *shapes, more=()) -> Operator:
    tensors = [{'.tensor': 'float32', 'shape': list(shape), 'order': '', 'expanded': ''} for shape in shapes]
    return Operator(name, json.dumps([[*tensors, *more], {}]))


def test_a_model_is_run_at_the_smallest_the_full_and_each_full_by_itself():
    assert np.stack(probes(SMALLEST, FULL)).tolist() == [[2, 3], [10, 9], [10, 3], [2, 9]]


def test_sizes_are_sums_of_widths():
    def run(widths):
        a, b = widths.tolist()
        return [operator('mm', (1, a), (a, b)), operator('cat', (1, a), (1, b)), operator('fc', (1, a + 4 * b + 7))]

    (product, joined, last), others = find_symbolic_ops(run, SMALLEST, FULL)
    assert others == []
    assert product.weights.tolist() == [[0, 0], [1, 0], [1, 0], [0, 1]]
    assert product.fixed.tolist() == [1, 0, 0, 0]
    assert last.weights.tolist() == [[0, 0], [1, 4]]
    assert last.fixed.tolist() == [1, 7]
    assert joined.tensors() == [[0, 1], [2, 3]]
    assert [follower.at(np.array([5, 6])) for follower in (product, joined, last)] == run(np.array([5, 6]))


def test_other_numbers_may_follow_widths_too():
    def run(widths):
        return [operator('conv', (1, int(widths[0])), more=(1, int(widths[0]), True, 0.1))]  # groups of a depthwise one

    (conv,), others = find_symbolic_ops(run, SMALLEST, FULL)
    assert others == []
    assert conv.weights[:, 0].tolist() == [0, 1, 0, 1]
    assert conv.at(np.array([4, 3])) == run(np.array([4, 3]))[0]


def test_sizes_that_depend_on_values_or_are_no_sums_are_not_known():
    calls = iter(range(100))

    def run(widths):
        a, b = widths.tolist()
        return [operator('boxes', (next(calls), 4)), operator('outer', (a * b,)), operator('half', (a // 4,))]

    followers, others = find_symbolic_ops(run, SMALLEST, FULL)
    assert followers == []
    assert [each.name for each in others] == ['boxes', 'outer', 'half']


def test_operators_that_do_not_always_run_are_not_known_and_others_are():
    def run(widths):
        a, b = widths.tolist()
        extra = [operator('nms', (5,))] if a == 10 else []
        return [operator('first', (a,)), *extra, operator('last', (b,))]

    followers, others = find_symbolic_ops(run, SMALLEST, FULL)
    assert [each.name for each in followers] == ['first', 'last']
    assert [each.name for each in others] == ['nms']


def test_arguments_that_are_no_plain_data_or_of_another_form_are_not_known():
    def run(widths):
        return [Operator('draw', ''), operator('sum', (1,) * (1 + int(widths[0] > 2)))]

    followers, others = find_symbolic_ops(run, SMALLEST, FULL)
    assert followers == []
    assert [each.name for each in others] == ['draw', 'sum']


def test_a_group_of_one_width_never_changes():
    (fixed,), _ = find_symbolic_ops(
        lambda widths: [operator('mm', widths.tolist())], np.array([4, 2]), np.array([4, 6])
    )
    assert fixed.weights.tolist() == [[0, 0], [0, 1]]
    assert fixed.fixed.tolist() == [4, 0]
