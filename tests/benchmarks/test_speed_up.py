import sys

import speed_up
from nni_cafenet.latency.clock import Timing


class Fake:
    """A clock of networks that takes a nanosecond for each parameter."""

    def describe(self):
        return 'a machine'

    def model(self, model, example, **options):
        count = sum(each.numel() for each in model.parameters())
        return Timing.of([count])


def test_the_table_has_a_row_for_each_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed_up, 'make_clock', lambda options: Fake())
    arguments = ['--model', 'squeezenet1_1', '--size', '32', '--shares', '50%', '--rounds', '2']
    monkeypatch.setattr(sys, 'argv', ['speed_up.py', *arguments, '--output', str(tmp_path)])
    speed_up.main()
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[:4]]
    assert cells[0] == ['network', 'MACs', 'of full', 'torch, ms', 'ONNX Runtime, ms']
    assert cells[2][::2] == ['full', '100.0 %', '1.24 (1.24 to 1.24), 1.00 x']
    assert cells[2][3] == cells[2][4]
    assert cells[3][0] == 'uniform, 50%'
    assert float(cells[3][2].split()[0]) <= 50
    assert 'squeezenet1_1, 32 x 32, batch 1; median of 2 rounds' in lines[-1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ['speed_up.json', 'speed_up.md']
