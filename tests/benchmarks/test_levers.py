from __future__ import annotations

import functools
import json

import pytest

import levers
import ranking


def test_a_tiny_run_that_continues(tmp_path, capsys, monkeypatch):
    quick = functools.partial(ranking.make_space, verify=False)
    for name, value in {'make_space': quick, 'TRAINING_IMAGES': 128, 'STATISTICS_BATCHES': 1}.items():
        monkeypatch.setattr(ranking, name, value)
    words = [
        '--widths',
        '4',
        '--training-seeds',
        '2',
        '--epochs',
        '1',
        '--supernet-epochs',
        '1',
        '--output',
        str(tmp_path),
    ]
    levers.main([*words, '--supernet-seeds', '1', '--levers', 'bilateral locally free'])
    first = (tmp_path / 'scores.jsonl').read_text()
    levers.main([*words, '--supernet-seeds', '1', '--levers', 'bilateral locally free', 'locally free'])
    assert (tmp_path / 'scores.jsonl').read_text() == first
    numbers = json.loads((tmp_path / 'levers.json').read_text())
    assert {name: len(found) for name, found in numbers.items()} == {'locally free': 1, 'bilateral locally free': 1}
    assert all(-1 <= each['tau in band, loss, T=3'] <= 1 for found in numbers.values() for each in found)
    assert (tmp_path / 'levers.md').read_text() in capsys.readouterr().out
    with pytest.raises(SystemExit):
        levers.main([*words, '--levers', 'nothing'])
    assert "'nothing': is no lever; choose of 'locally free'" in capsys.readouterr().err


def test_differences():
    # mean 0.2, standard deviation 0.1, 3 values: 4.303 * 0.1 / sqrt(3) = 0.248
    assert levers.difference([0.1, 0.2, 0.3]) == '+0.200 [-0.048, +0.448] (3/3)'
    assert levers.difference([-0.1]) == '-0.100 (0/1)'
