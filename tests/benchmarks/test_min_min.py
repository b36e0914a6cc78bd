from __future__ import annotations

import json

import pytest

import min_min


@pytest.fixture
def result(tmp_path, capsys):
    """What a run on a tiny case writes and prints."""
    case = [
        '--models',
        'squeezenet1_1',
        '--sets',
        '2',
        '--batch',
        '2',
        '--size',
        '32',
        '--classes',
        '3',
        '--rounds',
        '2',
    ]
    min_min.main([*case, '--no-resident', '--output', str(tmp_path)])
    (record,) = json.loads((tmp_path / 'min_min.json').read_text())
    return record, (tmp_path / 'min_min.md').read_text(), capsys.readouterr().out


def test_a_tiny_case(result):
    record, page, printed = result
    assert {name: len(times) for name, times in record['seconds'].items()} == {
        'one set': 2,
        'forward': 2,
        'fast 2': 2,
        'lean 2': 2,
    }
    assert record['graphs'] == {'fast 2': 2, 'lean 2': 1}
    assert not any(record['again']['fast 2'])
    assert len(record['again']['lean 2']) == 2
    for one, fast, lean in zip(*(record['memory'][side] for side in ('one set', 'fast 2', 'lean 2'))):
        assert lean <= fast
        assert lean <= 1.1 * one
    assert page in printed
    (row,) = [line for line in page.splitlines() if line.startswith('| squeezenet1_1')]
    assert row.count('|') == len(min_min.HEADERS) + 1
