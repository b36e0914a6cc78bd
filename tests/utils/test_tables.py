from __future__ import annotations

import re

import numpy as np
import pytest

from nni_cafenet.utils.tables import as_html, as_markdown, as_table


def test_a_table_as_it_looks() -> None:
    rows = [['full', '1.81G', 98.123456, '31 / 64'], ['slim, longer', None, 97.4, '7 / 9']]
    assert as_table(['network', 'MACs', 'accuracy', 'width'], rows) == '\n'.join(
        [
            '| network      |  MACs | accuracy |   width |',
            '|--------------|-------|----------|---------|',
            '| full         | 1.81G |    98.12 | 31 / 64 |',
            '| slim, longer |     - |     97.4 |   7 / 9 |',
        ]
    )


def test_without_rows() -> None:
    assert as_table(['a', 'bc'], []) == '| a | bc |\n|---|----|'


def separators(markdown: str) -> list[str]:
    """The alignment cells; releases of prettytable write them in different lengths."""
    cells = markdown.splitlines()[1].strip('|').split('|')
    return [re.sub('-+', '-', cell.strip()) for cell in cells]


def test_markdown() -> None:
    table = as_markdown(['name', 'MACs'], [['a|b', 12], ['c\nd', 3]])
    header, _, *rows = table.splitlines()
    assert header.split() == ['|', 'name', '|', 'MACs', '|']
    assert separators(table) == [':-', '-:']
    assert [row.split() for row in rows] == [['|', r'a\|b', '|', '12', '|'], ['|', 'c<br>d', '|', '3', '|']]


@pytest.mark.parametrize(
    ('cells', 'letter'),
    [
        ([1, 22], 'r'),
        ([1.5, None], 'r'),
        (['1.81G', '300M', '-1.2K'], 'r'),
        (['98.1 %', '97.4 ± 0.3'], 'r'),
        (['31 / 64', '-'], 'r'),
        (['1e-05', 'nan', 'inf', '-inf'], 'r'),
        ([np.float32(0.5), np.int64(3)], 'r'),
        (['conv1', '64'], 'l'),
        (['features.0.0', '1.0.conv'], 'l'),
        ([None, ''], 'l'),
        ([True, False], 'l'),
    ],
)
def test_numbers_go_right_and_words_left(cells: list[object], letter: str) -> None:
    expected = {'r': '-:', 'l': ':-'}[letter]
    assert separators(as_markdown(['h'], [[cell] for cell in cells])) == [expected]


def test_align_by_hand() -> None:
    assert separators(as_markdown(['a', 'b', 'c'], [[1, 2, 3]], align='lcr')) == [':-', ':-:', '-:']
    assert as_table(['aaa'], [[1]], align='l').splitlines()[2] == '| 1   |'


def test_cells() -> None:
    table = as_table(['a', 'b', 'c', 'd'], [[0.123456, np.float32(1 / 3), 1234567, 1e-7]])
    assert table.splitlines()[2].split('|')[1:-1] == [' 0.1235 ', ' 0.3333 ', ' 1234567 ', ' 1e-07 ']


def test_rows_may_be_an_iterator() -> None:
    assert as_table(['a'], ([n] for n in range(2))).splitlines()[2:] == ['| 0 |', '| 1 |']


@pytest.mark.parametrize(
    ('headers', 'rows', 'align', 'message'),
    [
        ([], [], None, 'headers must be'),
        (['a', 'a'], [], None, 'distinct'),
        (['a', 'b'], [[1, 2], [1]], None, 'row 1 has 1 cells for 2 columns'),
        (['a', 'b'], [], 'l', 'align must be 2 letters'),
        (['a', 'b'], [], 'lx', 'align must be 2 letters'),
    ],
)
def test_bad_input(headers: list[str], rows: list[list[object]], align: str | None, message: str) -> None:
    for function in (as_table, as_markdown):
        with pytest.raises(ValueError, match=message):
            function(headers, rows, align=align)


def test_html() -> None:
    assert as_html(['name', 'latency'], [['a < b', '5.12 ms'], ['c', None]]) == '\n'.join(
        [
            '<table>',
            '<thead><tr><th scope="col">name</th><th scope="col" class="r">latency</th></tr></thead>',
            '<tbody>',
            '<tr><td>a &lt; b</td><td class="r">5.12 ms</td></tr>',
            '<tr><td>c</td><td class="r">-</td></tr>',
            '</tbody>',
            '</table>',
        ]
    )


def test_html_refuses_what_the_others_refuse() -> None:
    with pytest.raises(ValueError, match='row 0 has 2 cells for 1 columns'):
        as_html(['a'], [[1, 2]])
