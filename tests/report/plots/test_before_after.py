"""Two numbers for each of many things."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from nni_cafenet.report.plots.before_after import MOST_BARS, _bars, _outlines, before_after_svg


def rows(number: int) -> list[tuple[str, int, int]]:
    return [(f'body.part.conv{place}', 1000 * (place + 1), 500 * (place + 1)) for place in range(number)]


def test_bars_are_as_long_as_their_numbers():
    axes = Figure().add_subplot()
    _bars(axes, [('a', 4000, 1000), ('b', 0, 0)])
    assert [bar.get_width() for bar in axes.patches] == [4000, 0, 1000, 0]
    assert axes.get_xlim() == (0, 4000)


def test_each_bar_has_its_name_and_its_numbers(texts_of):
    texts = texts_of(before_after_svg(rows(3), unit='MACs of one sample', after='pruned to $50$'))
    assert [text for text in texts if text.startswith('body')] == [f'body.part.conv{place}' for place in range(3)]
    assert {'500 of 1.00K', '1.00K of 2.00K', '1.50K of 3.00K', 'MACs of one sample'} <= set(texts)
    assert {'full', 'pruned to $50$'} <= set(texts)


def test_of_many_the_outline_is_drawn_and_some_names_without_their_common_start(texts_of):
    texts = texts_of(before_after_svg(rows(300), unit='channels'))
    names = [text for text in texts if text.startswith('conv')]
    assert names == [f'conv{place}' for place in range(0, 300, 8)]
    assert 'channels' in texts


def test_outlines_are_as_high_as_their_numbers():
    axes = Figure().add_subplot()
    _outlines(axes, [('a', 40, 10), ('b', 30, 30)])
    assert [list(patch.get_data().values) for patch in axes.patches] == [[40, 30], [10, 30]]


def test_long_names_are_shortened(texts_of):
    texts = texts_of(before_after_svg([('backbone.' * 10 + 'conv1', 5, 2)], unit='channels'))
    (shown,) = (text for text in texts if '…' in text)
    assert len(shown) == 34
    assert shown.endswith('.conv1')


@pytest.mark.parametrize('number', [2, MOST_BARS + 1])
def test_the_same_picture_has_the_same_bytes(number):
    assert before_after_svg(rows(number), unit='channels') == before_after_svg(rows(number), unit='channels')


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='rows is empty'):
        before_after_svg([], unit='channels')
