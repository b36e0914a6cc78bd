from __future__ import annotations

import json

from nni_cafenet import cli

WORDS = ['sensitivity', '--model', 'net.py:net', '--data', 'imagefolder:photos', '--input', '1', '3', '12', '12']
WORDS += ['--batch-size', '8', '--device', 'cpu', '--batches', '2', '--statistics-batches', '2']


def test_each_group_alone(place, capsys):
    assert cli.main([*WORDS, '--weights', 'net.pt', '--shares', '50%', '--plot', 'a.svg', '--json', 'a.json']) == 0
    out, progress = capsys.readouterr()
    assert 'rise of the loss at a width' in out
    assert 'loss of the whole network' in out
    assert 'wrote a.svg' in progress
    found = json.loads((place / 'a.json').read_text())
    assert {label: list(each) for label, each in found['groups'].items()} == {'0': ['3'], '3': ['4']}
    assert (place / 'a.svg').read_bytes().startswith(b'<?xml')
    assert not (place / 'job.json').exists()


def test_what_is_wrong_is_said_before_torch_is_loaded(place, capsys):
    for more, says in [
        ([], '--weights: is missing'),
        (['--weights', 'none.pt'], 'none.pt: the file is not there'),
        (['--weights', 'net.pt', '--shares', '150%'], '--shares: 150%'),
        (['--weights', 'net.pt', '--plot', 'nowhere/a.svg'], 'there is no folder nowhere'),
    ]:
        assert cli.main([*WORDS, *more]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert 'loading torch' not in error
