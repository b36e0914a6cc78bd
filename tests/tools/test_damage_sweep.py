from __future__ import annotations

import sys
from pathlib import Path

import torch

from nni_cafenet.utils.json_records import append_record, write_record
from nni_cafenet.utils.torch_files import save_torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.damage_sweep import sweep


def test_damage_in_every_file_of_a_run_is_noticed(tmp_path: Path) -> None:
    (tmp_path / 'finalists' / '1').mkdir(parents=True)
    write_record(tmp_path / 'run.json', {'seed': 10, 'macs': 12345})
    write_record(tmp_path / 'finalists' / '1' / 'result.json', {'metric': 0.5})
    write_record(tmp_path / 'setup.json', {'setup': {'a': 1}}, signed_for='setup')
    save_torch({'w': torch.arange(300.0)}, tmp_path / 'supernet.ckpt')
    for n in range(5):
        append_record(tmp_path / 'history.jsonl', {'score': n / 7})
    found = sweep(tmp_path, each=30)
    assert set(found) == {'run.json', 'finalists/1/result.json', 'setup.json', 'supernet.ckpt', 'history.jsonl'}
    assert all(counts['noticed'] >= 30 and counts['silent'] == 0 for counts in found.values())
