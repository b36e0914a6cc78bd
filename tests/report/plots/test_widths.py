from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nni_cafenet.report.plots.widths import widths_svg

SVG = '{http://www.w3.org/2000/svg}'
LIGHT, DARK = '#c9dcee', '#1d5c96'


def texts(root: ET.Element) -> list[str]:
    return [text.text or '' for text in root.iter(f'{SVG}text')]


def bars(root: ET.Element, color: str) -> list[float]:
    """Lengths of the bars of one color, from the top; the first such rectangle is the legend's."""
    return [float(rect.attrib['width']) for rect in root.iter(f'{SVG}rect') if rect.get('fill') == color][1:]


def test_bars_are_as_long_as_widths() -> None:
    root = ET.fromstring(widths_svg({'a': 64, 'b': 32, 'c': 64}, {'a': 16, 'b': 32, 'c': 1}, title='Title'))
    # 64 channels fill the 520 pixels of the axis: 8.125 pixels a channel.
    assert bars(root, LIGHT) == pytest.approx([520, 260, 520], abs=0.06)
    assert bars(root, DARK) == pytest.approx([130, 260, 8.125], abs=0.06)


def test_the_words_on_it() -> None:
    svg = widths_svg({'a': 64, 'b': 32}, {'a': 31, 'b': 32}, title='Title', subtitle='Below')
    found = texts(ET.fromstring(svg))
    assert found[:4] == ['Title', 'Below', 'chosen width', 'full width']
    assert [text for text in found if '/' in text] == ['31 / 64', '32 / 32']
    assert [text for text in found if '%' in text] == ['48 %', '100 %']
    # Ticks of 64 channels: eight steps of 8, once above and once below.
    assert sorted(int(text) for text in found if text.isdigit()) == sorted(2 * list(range(0, 65, 8)))


def test_rows_keep_the_order_of_the_network() -> None:
    full = {'z': 4, 'a': 4, 'm': 4}
    root = ET.fromstring(widths_svg(full, {'a': 1, 'm': 2, 'z': 3}, title=''))
    assert [text for text in texts(root) if text in full] == ['z', 'a', 'm']
    assert bars(root, DARK) == pytest.approx([390, 130, 260], abs=0.06)


def test_everything_is_inside_the_picture() -> None:
    full = {f'features.{n}.conv.1.0': 2 ** (n % 8 + 3) for n in range(60)}
    root = ET.fromstring(widths_svg(full, full, title='word ' * 60, subtitle='word ' * 60))
    width, height = float(root.attrib['width']), float(root.attrib['height'])
    assert height > 60 * 18
    for text in root.iter(f'{SVG}text'):
        assert 0 < float(text.attrib['x']) < width
        assert 0 < float(text.attrib['y']) < height
    for rect in root.iter(f'{SVG}rect'):
        if not rect.attrib['width'].endswith('%'):
            assert float(rect.attrib['x']) + float(rect.attrib['width']) < width


def test_labels_and_titles_are_escaped() -> None:
    label = '<b> & "c" \x00\ud800'
    root = ET.fromstring(widths_svg({label: 2}, {label: 1}, title='a < b & c', subtitle=']]>'))
    assert '<b> & "c" \ufffd\ufffd' in texts(root)
    assert 'a < b & c' in texts(root)


def test_long_labels_are_shortened_in_the_middle() -> None:
    label = 'backbone.' * 10 + 'conv1'
    root = ET.fromstring(widths_svg({label: 2}, {label: 1}, title='t'))
    (shown,) = (text for text in texts(root) if '…' in text)
    assert len(shown) == 44
    assert shown.startswith('backbone.')
    assert shown.endswith('.conv1')
    assert f'{label}: 1 of 2 channels, 50 %' in [title.text for title in root.iter(f'{SVG}title')]


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.integers(1, 5000), min_size=1, max_size=20), st.text(), st.data())
def test_any_labels_and_widths_give_an_svg(full: dict[str, int], title: str, data: st.DataObject) -> None:
    widths = {label: data.draw(st.integers(1, width)) for label, width in full.items()}
    root = ET.fromstring(widths_svg(full, widths, title=title).encode('utf-8'))
    assert len(bars(root, DARK)) == len(full)
    (axis,) = root.iterfind(f'{SVG}g[@text-anchor="middle"]')
    # At most eight steps, so at most nine numbers above and nine below.
    assert 4 <= sum(text.isdigit() for text in texts(axis)) <= 18


def test_numpy_integers_will_do() -> None:
    assert '>3 / 8<' in widths_svg({'a': np.int64(8)}, {'a': np.int64(3)}, title='t')


@pytest.mark.parametrize(
    ('full', 'widths', 'message'),
    [
        ({}, {}, 'no channel group'),
        ({'a': 4, 'b': 4}, {'a': 2, 'c': 1}, r"missing: \['b'\], unknown: \['c'\]"),
        ({'a': 4}, {'a': 5}, r"widths\['a'\] is 5, but must be from 1 to 4"),
        ({'a': 4}, {'a': 0}, 'from 1 to 4'),
    ],
)
def test_bad_input(full: dict[str, int], widths: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        widths_svg(full, widths, title='t')
