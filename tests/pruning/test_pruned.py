from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from nni_cafenet.pruning.pruned import Pruned, PrunedFamily
from nni_cafenet.report.records import NetworkRecord, RunReport
from nni_cafenet.search.history import History


def family(points, higher=True):
    full = NetworkRecord('full', 'full', {'a': 8}, 80, 8)
    report = RunReport('title', 'Net', {}, {'a': 8}, (full,), 'val', higher)
    history = History(higher_is_better=False)
    return PrunedFamily(
        tuple(
            Pruned(nn.Identity(), {'a': 1}, macs, 1, metric, {}, report, history, Path('out'))
            for macs, metric in points
        ),
        report,
    )


@pytest.mark.parametrize(
    ('points', 'higher', 'front'),
    [
        ([(60, 0.9), (40, 0.8), (20, 0.7)], True, [60, 40, 20]),
        ([(60, 0.8), (40, 0.9), (20, 0.7)], True, [40, 20]),
        ([(60, 0.8), (40, 0.9), (20, 0.7)], False, [20]),
        ([(60, None), (40, 0.9)], True, [40]),
    ],
)
def test_the_front_is_what_no_other_member_beats(points, higher, front):
    assert [each.macs for each in family(points, higher).front] == front


def test_a_family_is_a_sequence():
    members = family([(60, 0.9), (40, 0.8)])
    assert len(members) == 2
    assert [each.macs for each in members] == [60, 40]
    assert members[-1].macs == 40
