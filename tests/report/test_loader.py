"""The slim model without this package."""

from __future__ import annotations

import re
import subprocess
import sys

import torch
from torch import nn

from nni_cafenet import WidthSpace
from nni_cafenet.report.loader import loading_lines
from nni_cafenet.report.write import write_report

NETS = """
from torch import nn

def net(classes):
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, classes))
"""

RUN = """
import sys
sys.modules['nni'] = sys.modules['nni_cafenet'] = None  # an import fails
exec(sys.argv[1])
import torch
x, expected = torch.load('expected.pt')
assert torch.equal(model(x), expected)
model(x).sum().backward()
print([tuple(p.grad.shape) for p in model.parameters()])
"""


def test_the_lines_of_a_report_load_the_model(report_with, tmp_path):
    names = {}
    exec(NETS, names)
    space = WidthSpace(lambda: names['net'](4), example_input=(1, 3))
    slim = space.save_slim(tmp_path, {'0': 5}).eval()
    x = torch.ones(2, 3)
    torch.save((x, slim(x)), tmp_path / 'expected.pt')
    (tmp_path / 'nets.py').write_text(NETS)
    write_report(tmp_path, report_with(loading=loading_lines('net', imports='from nets import net', factory='net(4)')))

    (lines,) = re.findall(r'```python\n(.*?)```', (tmp_path / 'report.md').read_text(), re.DOTALL)
    assert lines.count('\n') == 4
    command = [sys.executable, '-c', RUN, lines]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env={'PATH': ''})
    assert done.stdout == '[(5, 3), (5,), (4, 5), (4,)]\n', done.stderr


def test_a_model_that_does_not_tell_how_it_was_made_leaves_a_place():
    assert loading_lines(type(nn.Linear(1, 1)).__name__, folder='small') == (
        'from load_slim import load_slim',
        'full = ...  # Linear as before pruning, created by your own code',
        "model = load_slim(full, 'small')  # widths.json and slim.pt",
        'model.eval()',
    )
