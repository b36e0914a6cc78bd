"""Training curves."""

from __future__ import annotations

import math

import pytest

from nni_cafenet.report.plots.curves import _line, curves_svg


def test_a_panel_a_metric_and_a_line_a_stage(texts_of):
    curves = {
        'supernet': {'loss': [(0, 2.5), (1, 2.0)]},
        'fine-tuning of $x$': {'loss': [(0, 1.0), (1, 0.5)], 'accuracy': [(0, 0.5)], 'empty': []},
    }
    texts = texts_of(curves_svg(curves))
    assert {'supernet', 'fine-tuning of $x$', 'loss', 'accuracy'} <= set(texts)
    assert 'empty' not in texts
    assert texts.count('epoch') == 2


def test_values_that_lie_far_apart_are_on_a_logarithmic_axis(texts_of):
    texts = texts_of(curves_svg({'supernet': {'loss': [(0, 10.0), (1, 0.1)]}}))
    assert {'0.1', '1', '10'} <= set(texts)


def test_values_that_are_not_finite_are_gaps(texts_of):
    svg = curves_svg({'supernet': {'loss': [(0, 2.0), (1, math.nan), (2, math.inf), (3, 1.0)]}})
    assert 'no value is finite' not in texts_of(svg)
    assert 'no value is finite' in texts_of(curves_svg({'supernet': {'loss': [(0, math.nan)]}}))


def test_neighboring_stages_look_different_however_many_there_are():
    looks = [(line.get_color(), line.get_linestyle()) for line in (_line('x', number) for number in range(32))]
    assert len(set(looks)) == 32


def test_the_same_picture_has_the_same_bytes():
    curves = {'supernet': {'loss': [(0, 2.0)]}}
    assert curves_svg(curves) == curves_svg(curves)


@pytest.mark.parametrize('curves', [{}, {'supernet': {}}, {'supernet': {'loss': []}}])
def test_nothing_to_draw(curves):
    with pytest.raises(ValueError, match='curves has no value'):
        curves_svg(curves)
