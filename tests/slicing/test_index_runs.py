from __future__ import annotations

from nni_cafenet.slicing.index_runs import IndexRuns


def test_runs_by_hand():
    runs = IndexRuns([0, 5, 9], [3, 1, 2])
    assert (runs.size, runs.span) == (6, 11)
    assert runs.blocks == [(0, 0, 3), (5, 3, 1), (9, 4, 2)]
    assert runs.index().tolist() == runs.positions().tolist() == [0, 1, 2, 5, 9, 10]


def test_nothing_selected():
    runs = IndexRuns([], [])
    assert (runs.size, runs.span, runs.index().tolist()) == (0, 0, [])
