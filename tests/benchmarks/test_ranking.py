from __future__ import annotations

import functools
import sys

import pytest

import ranking


def test_a_tiny_run_that_continues(tmp_path, monkeypatch, capsys):
    words = [
        '--widths',
        '4',
        '--training-seeds',
        '2',
        '--supernet-seeds',
        '1',
        '--epochs',
        '1',
        '--output',
        str(tmp_path),
    ]
    quick = {
        'make_space': functools.partial(ranking.make_space, verify=False),
        'TRAINING_IMAGES': 128,
        'STATISTICS_BATCHES': 1,
    }
    for name, value in quick.items():
        monkeypatch.setattr(ranking, name, value)
    monkeypatch.setattr(sys, 'argv', ['ranking.py', *words, '--supernet-epochs', '1'])
    ranking.main()
    table = capsys.readouterr().out
    for row in ('Fixed: loss', 'LocallyFree(1): loss, temperature 2', 'LocallyFree(1): accuracy', 'MACs alone'):
        assert f'| {row} ' in table
    ranking.main()  # nothing is left to do
    assert capsys.readouterr().out == table
    monkeypatch.setattr(sys, 'argv', ['ranking.py', *words, '--supernet-epochs', '2'])
    with pytest.raises(SystemExit, match='holds another run'):
        ranking.main()
