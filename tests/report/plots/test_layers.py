"""A picture of the MACs of each layer."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from nni_cafenet.report.plots.layers import check_plot, layers_plot

SVG = '{http://www.w3.org/2000/svg}'
LAYERS = [('conv1', 4_000_000, 'conv1'), ('conv2', 1_000_000, 'conv2'), ('down', 2_000_000, 'conv2'), ('fc', 10, None)]


@pytest.mark.parametrize('suffix', ['.jpg', '', '.svg.gz'])
def test_other_kinds_of_files_are_refused(suffix):
    with pytest.raises(ValueError, match='end its name in .svg, .png, .pdf'):
        check_plot(suffix)


def texts_of(layers, title='net'):
    root = ET.fromstring(layers_plot(layers, title=title))
    return [''.join(text.itertext()) for text in root.iter(f'{SVG}text')]


def test_layers_and_their_groups_are_named():
    texts = texts_of(LAYERS, 'net: 7,000,010 MACs')
    assert [text for text in texts if text in ('conv1', 'conv2', 'down', 'fc')] == ['conv1', 'conv2', 'down', 'fc']
    behind = [text.split() for text in texts if text.split()[-1] in ('conv1', 'conv2', 'group')]
    assert [words for words in behind if len(words) > 1] == [
        *(['4.00M', 'conv1'], ['1.00M', 'conv2'], ['2.00M', 'conv2'], ['10', 'no', 'group'])
    ]
    assert 'net: 7,000,010 MACs' in texts


def test_bars_are_as_long_as_macs_and_have_the_color_of_their_group():
    from matplotlib.figure import Figure

    from nni_cafenet.report.plots.layers import _draw

    axes = Figure().add_subplot()
    _draw(axes, LAYERS)
    assert [bar.get_width() for bar in axes.patches] == [4_000_000, 1_000_000, 2_000_000, 10]
    one, two, three, fixed = [bar.get_facecolor() for bar in axes.patches]
    assert two == three
    assert len({one, two, fixed}) == 3


def test_neighboring_groups_differ_however_many_there_are():
    from matplotlib.figure import Figure

    from nni_cafenet.report.plots.layers import _draw

    axes = Figure().add_subplot()
    _draw(axes, [(f'layer{n}', 5, f'group{n}') for n in range(40)])
    colors = [bar.get_facecolor() for bar in axes.patches]
    assert len(set(colors[:18])) == 18
    assert all(before != after for before, after in zip(colors, colors[1:]))


@pytest.mark.parametrize(('suffix', 'start'), [('.svg', b'<?xml'), ('.PNG', b'\x89PNG'), ('.pdf', b'%PDF')])
def test_the_suffix_says_what_is_drawn_and_the_bytes_are_always_the_same(suffix, start):
    picture = layers_plot(LAYERS, title='net', suffix=suffix)
    assert picture.startswith(start)
    assert picture == layers_plot(LAYERS, title='net', suffix=suffix)


def test_names_are_no_formulas_and_long_ones_are_shortened():
    long = 'backbone.' * 10 + 'conv1'
    texts = texts_of([('a$b$_c', 3, 'x_$1'), (long, 2, None), ('', 1, None)])
    assert any('a$b$_c' in text for text in texts)
    (shown,) = (text for text in texts if '…' in text)
    assert len(shown) == 38
    assert shown.endswith('.conv1')
    assert '(the model itself)' in texts


def test_of_very_many_layers_the_largest_are_drawn_in_their_order():
    texts = texts_of([(f'layer{n}', n, None) for n in range(500)])
    assert [text for text in texts if text.startswith('layer')] == [f'layer{n}' for n in range(100, 500)]
    assert any('400 of 500 layers, 96.0 % of the MACs' in text for text in texts)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='no multiply-accumulates to draw'):
        layers_plot([], title='net')
