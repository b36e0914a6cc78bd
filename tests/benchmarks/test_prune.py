from __future__ import annotations

import json

from torch.utils.data import TensorDataset

import prune
from nni_cafenet.testing import digits


def few_digits(split: str) -> TensorDataset:
    return TensorDataset(*(each[:128] for each in digits(split).tensors))


def test_a_tiny_run_that_continues(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prune, 'BUDGETS', (0.5,))
    monkeypatch.setattr(prune, 'PROBLEMS', [prune.Problem('tiny', prune.SmallMobileNet, few_digits)])
    words = ['--peers', '--base-epochs', '1', '--supernet-epochs', '1', '--finetune-epochs', '1', '--search', '2']
    words += ['--seeds', '1', '--output', str(tmp_path)]
    prune.main(words)
    path = tmp_path / 'results.jsonl'
    first = path.read_text()
    records = {each['method']: each for each in map(json.loads, first.splitlines())}
    names = ['full', *prune.OURS, *prune.KNAPSACKS]
    assert list(records) == [*names, 'uniform, L1', 'uniform, group', 'uniform, group, longer']
    assert all(each['macs'] <= 0.5 * records['full']['macs'] for name, each in records.items() if name != 'full')
    prune.main(words)
    assert path.read_text() == first
    assert (tmp_path / 'prune.md').read_text() in capsys.readouterr().out
