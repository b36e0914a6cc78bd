"""``--from``: another question to the supernet of a finished run."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from nni_cafenet import cli


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def number_scored(folder: Path) -> int:
    return len((folder / 'history.jsonl').read_text().splitlines())


@pytest.mark.parametrize('command', ['search', 'prune'])
def test_another_budget_of_the_same_supernet(place, job, capsys, monkeypatch, command):
    assert cli.main(job(command, '--budget', '60%')) == 0
    before = contents(place / 'out')
    capsys.readouterr()

    import nni_cafenet.stages.train_supernet as stage

    def refuse(*args, **kwargs):
        raise AssertionError('a supernet was trained')

    monkeypatch.setattr(stage, 'keyboard_interrupts', refuse)
    assert cli.main([command, '--from', 'out', '--budget', '45%', '--trust']) == 0
    assert contents(place / 'out') == before
    small = json.loads((place / 'out-45%' / 'widths.json').read_text())
    assert small['macs'] < json.loads((place / 'out' / 'widths.json').read_text())['macs']
    assert os.path.samefile(place / 'out' / 'supernet.ckpt', place / 'out-45%' / 'supernet.ckpt')
    assert number_scored(place / 'out-45%') >= number_scored(place / 'out')
    assert (place / 'out-45%' / 'report.html').exists()

    assert cli.main([command, '--from', 'out', '--budget', '45%', '--trust']) == 0  # once more: it resumes
    assert 'resuming the run' in capsys.readouterr().err


def test_what_needs_another_supernet_is_refused(place, job, capsys):
    assert cli.main(job('search', '--budget', '60%', '--finetune-epochs', '0')) == 0
    capsys.readouterr()
    for words, says in [
        (['--epochs', '5'], 'need another supernet; omit --from:\n  training.epochs: 2 there, 5 now'),
        (['--output', 'out'], '--output'),
        (['--config', 'job.yaml'], 'give one of them'),
        (['--population', '0'], 'population'),
    ]:
        assert cli.main(['search', '--from', 'out', '--trust', *words]) == 2
        assert says in capsys.readouterr().err
    assert cli.main(['prune', '--from', 'out', '--trust']) == 2
    assert 'is a run of nni-cafenet search' in capsys.readouterr().err
    assert cli.main(['search', '--from', 'out', '--budget', '30%']) == 2
    assert 'add --trust' in capsys.readouterr().err
    assert not (place / 'out-30%').exists()
    for name, says in (('nowhere', 'is not there'), ('photos', 'holds no run')):
        assert cli.main(['search', '--from', name]) == 2
        assert says in capsys.readouterr().err
