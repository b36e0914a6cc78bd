"""Score against MACs."""

from __future__ import annotations

import math

import pytest

from nni_cafenet.report.plots.scores import on_front, scores_svg
from nni_cafenet.report.records import CandidateRecord


def candidates(*points: tuple[int, float]) -> list[CandidateRecord]:
    return [CandidateRecord(macs, 1, score) for macs, score in points]


POINTS = candidates((100, 0.5), (200, 0.75), (300, 0.25), (250, math.nan), (260, math.inf))


def test_the_front_by_hand():
    assert [each.macs for each in on_front(POINTS, higher_is_better=False)] == [100, 300]
    assert [each.macs for each in on_front(POINTS[:3], higher_is_better=True)] == [100, 200]


def test_what_the_picture_says(texts_of):
    chosen = CandidateRecord(150, 1, 0.375, chosen=True)
    svg = scores_svg([*POINTS, chosen], score='val$loss', higher_is_better=False, budgets={'50%': 320})
    texts = texts_of(svg)
    assert {'scored widths (4)', 'Pareto front', 'without a score (2)', 'chosen', 'budget 50%'} <= set(texts)
    assert {'MACs of one sample', 'val$loss (lower is better)'} <= set(texts)


def test_parts_that_are_not_there_are_not_in_the_legend(texts_of):
    texts = texts_of(scores_svg(candidates((100, 0.5)), score='accuracy', higher_is_better=True))
    assert 'scored widths (1)' in texts
    assert 'accuracy (higher is better)' in texts
    assert not [text for text in texts if text.startswith(('chosen', 'without', 'budget'))]


def test_only_failed_ones(texts_of):
    texts = texts_of(scores_svg(candidates((10**6, math.nan)), score='loss', higher_is_better=False))
    assert 'without a score (1)' in texts
    assert not [text for text in texts if text.startswith('scored')]
    assert '1M' in texts  # where it is


def test_macs_that_lie_far_apart_are_on_a_logarithmic_axis(texts_of):
    texts = texts_of(scores_svg(candidates((10**6, 3), (10**9, 2)), score='loss', higher_is_better=False))
    assert {'1M', '10M', '100M', '1G'} <= set(texts)


def test_macs_that_lie_close_have_ticks_that_differ(texts_of):
    texts = texts_of(
        scores_svg(candidates((4_000_000_000, 3), (4_000_100_000, 2)), score='loss', higher_is_better=False)
    )
    ticks = [text for text in texts if text.endswith('G')]
    assert len(ticks) > 2
    assert len(set(ticks)) == len(ticks)


def test_many_points_make_no_large_file():
    many = candidates(*((1000 + number, 1 + number % 97) for number in range(6000)))
    assert len(scores_svg(many, score='loss', higher_is_better=False)) < 300_000


def test_the_same_picture_has_the_same_bytes():
    assert scores_svg(POINTS, score='a', higher_is_better=True) == scores_svg(POINTS, score='a', higher_is_better=True)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='candidates is empty'):
        scores_svg([], score='loss', higher_is_better=False)
