import json
import math

import pytest

import search


@pytest.fixture
def small(tmp_path):
    return ['--statistics', '2', '--heldout', '1', '--rounds', '1', '--batch', '16', '--output', str(tmp_path)]


def test_all_sides_score_the_same_widths(small, tmp_path, capsys):
    search.main(['--part', 'scoring', '--models', 'digits', '--widths', 'quarter', 'random, 2 sets', *small])
    records = json.loads((tmp_path / 'search.json').read_text())
    assert [(record['kind'], record['sets']) for record in records] == [('quarter', 1), ('random, 2 sets', 2)]
    for record in records:
        assert record['difference'] < 1e-5
        assert record['nni'] == ''
        assert {name: len(times) for name, times in record['seconds'].items()} == dict.fromkeys(
            ['bare', 'ours', 'by hand', 'bare held-out', 'nni'], 1
        )
    table = (tmp_path / 'search.md').read_text()
    assert all(header in table for header in search.HEADERS)
    assert '2 statistics batches and 1 held-out batches of 16 images' in table
    assert table in capsys.readouterr().out


def test_a_peer_that_fails_is_a_dash_with_its_reason(small, tmp_path, monkeypatch):
    def fail():
        raise KeyError('val_acc')

    monkeypatch.setattr(search, 'validation', lambda *_: fail)
    search.main(['--part', 'scoring', '--models', 'digits', '--widths', 'quarter', *small])
    (row,) = [line for line in (tmp_path / 'search.md').read_text().splitlines() if line.startswith('| digits')]
    assert [cell.strip() for cell in row.strip('|').split('|')][6] == '-'
    assert "NNI's way on digits: KeyError: 'val_acc'" in (tmp_path / 'search.md').read_text()


def test_growth_has_a_point_for_each_number(small, tmp_path):
    search.main(['--part', 'growth', '--candidates', '4', '8', '--groups', '2', '3', *small])
    found = json.loads((tmp_path / 'growth.json').read_text())
    numbers = {curve: [number for number, _ in line] for curve, line in found['points'].items()}
    assert numbers == {
        search.CANDIDATES: [4, 8],
        search.GROUPS.format(4): [2, 3],
        search.SCORE: [2, 3],
        search.BARE: [2, 3],
    }
    assert all(seconds > 0 for line in found['points'].values() for _, seconds in line)
    assert all(math.isfinite(each) for each in found['exponents'].values())


def test_the_exponent_is_the_slope_of_the_logarithms():
    assert search.exponent([(1, 3.0), (10, 300.0), (100, 30_000.0)]) == pytest.approx(2)
    assert search.exponent([(2, 5.0), (4, 10.0)]) == pytest.approx(1)
    assert math.isnan(search.exponent([(2, 5.0)]))
