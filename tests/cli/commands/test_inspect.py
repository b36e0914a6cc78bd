"""Width spaces of models, inspected from the shell."""

from __future__ import annotations

import csv
import json
import os
import sys

import pytest
import torch
from torch import nn

from nni_cafenet import cli

NETS = """\
import torch
from torch import nn


def small():
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(64, 5))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(9, 4), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, indices, mask):
        return self.head(torch.relu(self.hidden(self.table(indices)))) * mask[..., None]
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A working directory with a module ``my_nets``."""
    (tmp_path / 'my_nets.py').write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    yield tmp_path
    sys.modules.pop('my_nets', None)


SMALL = ['inspect', 'my_nets:small', '--input', '1', '3', '4', '4']


def test_inspect_prints_tables_and_says_what_is_going_on(nets, capsys):
    assert cli.main(SMALL) == 0
    out, progress = capsys.readouterr()
    assert out.startswith('my_nets:small, input (1, 3, 4, 4): 2 channel groups\n')
    assert '| 4     |        5 | is an output of the model |' in out
    assert '| full     | 1,216 |' in out  # 16 * (3 * 8 + 8 * 4) + 64 * 5
    assert 'reading its channel groups from (1, 3, 4, 4)' in progress
    assert '2 channel groups in' in progress


def test_inspect_writes_files(nets, capsys):
    assert cli.main([*SMALL, '--json', 'a.json', '--csv', 'a.csv', '--plot', 'a.svg']) == 0
    out, progress = capsys.readouterr()
    assert '| full     | 1,216 |' in out
    assert json.loads((nets / 'a.json').read_text())['macs'] == 1216
    assert [row['label'] for row in csv.DictReader((nets / 'a.csv').open())] == ['0', '2']
    assert b'my_nets:small: 1,216 MACs' in (nets / 'a.svg').read_bytes()
    assert [f'wrote a.{kind}' in progress for kind in ('json', 'csv', 'svg')] == [True] * 3
    assert sorted(path.name for path in nets.iterdir() if path.is_file()) == ['a.csv', 'a.json', 'a.svg', 'my_nets.py']


def test_inspect_gives_the_terminal_one_file_alone(nets, capsys):
    assert cli.main([*SMALL, '--json', '-']) == 0
    assert json.loads(capsys.readouterr().out)['name'] == 'my_nets:small'
    assert cli.main([*SMALL, '--csv', '-']) == 0
    assert capsys.readouterr().out.startswith('label,width,bin,')


def test_inspect_makes_the_space_that_is_asked_for(nets, capsys):
    options = ['--bins', '4', '--min-ratio', '0.5', '--divisor', '2', '--exclude', '2', '--json', '-']
    assert cli.main([*SMALL, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(group['label'], group['bin'], group['widths']) for group in found['groups']] == [('0', 2, [4, 6, 8])]
    assert found['fixed'][-1] == {'layer': '2', 'width': 4, 'reason': 'is excluded (exclude names 2)'}


def test_inspect_takes_the_options_of_a_model_that_prune_takes(nets, capsys):
    (nets / 'sized.py').write_text(
        'from torch import nn\n\n\ndef net(num_classes=3, width=6):\n    return nn.Sequential('
        'nn.Linear(4, width), nn.ReLU(), nn.Linear(width, num_classes))\n'
    )
    sized = ['inspect', 'sized.py:net', '--input', '1', '4', '--model-args', 'width=10', '--classes', '5']
    assert cli.main([*sized, '--json', '-']) == 0
    assert json.loads(capsys.readouterr().out)['macs'] == 10 * (4 + 5)
    state = {f'module.{key}': torch.ones(shape) for key, shape in [('0.weight', (10, 4)), ('0.bias', (10,))]}
    state.update({'module.2.weight': torch.ones(5, 10), 'module.2.bias': torch.ones(5), 'n_averaged': torch.ones(())})
    torch.save({'model': {}, 'model_ema': state}, 'w.pt')
    assert cli.main([*sized, '--weights', 'w.pt', '--json', '-']) == 0
    assert 'left out, not of the model: n_averaged' in capsys.readouterr().err
    assert cli.main([*sized, '--weights', 'none.pt', '--json', '-']) == 2
    error = capsys.readouterr().err
    assert '--weights: none.pt: the file is not there' in error
    assert 'loading torch' not in error


def test_inspect_takes_several_inputs(nets, capsys):
    inputs = ['--input', '2', '7', 'int64', '--input', '2', '7', 'bool']
    assert cli.main(['inspect', 'my_nets.py:Words', *inputs, '--json', '-']) == 0
    assert {group['label'] for group in json.loads(capsys.readouterr().out)['groups']} >= {'hidden'}


def test_inspect_takes_a_torchvision_name_and_a_saved_model(nets, capsys):
    assert cli.main(['inspect', 'squeezenet1_1', '--input', '1', '3', '32', '32', '--csv', '-']) == 0
    assert capsys.readouterr().out.count('\n') == 26  # 25 groups under a line of names
    torch.save(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)), 'net.pt')
    assert cli.main(['inspect', 'net.pt', '--input', '1', '2']) == 2
    assert 'add --unpickle' in capsys.readouterr().err
    assert cli.main(['inspect', 'net.pt', '--input', '1', '2', '--unpickle']) == 0
    assert capsys.readouterr().out.startswith('net.pt, input (1, 2): 1 channel groups')


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--json', 'missing/a.json'], 'there is no folder missing; make it: mkdir -p missing'),
        (['--csv', '.'], '--csv .: is a folder'),
        (['--plot', 'a.jpg'], 'end its name in .svg, .png, .pdf'),
        (['--plot', '-'], 'end its name in .svg, .png, .pdf'),
        (['--json', '-', '--csv', '-'], 'both write to the terminal'),
        (['--bins', 'many'], "bins='many'"),
        (['--bins', '0'], 'must be a whole number, 1 or more'),
        (['--min-ratio', '2'], 'min_ratio=2.0 must be a number from 0 to 1'),
        (['--include', 'conv9'], "'conv9' matches no layer"),
        (['--input', '3'], 'is rejected by the model'),
        (['--input', '1x3'], "'1x3' is not a size"),
    ],
)
def test_inspect_refuses_bad_options(nets, capsys, options, says):
    assert cli.main([*SMALL, *options]) == 2
    out, error = capsys.readouterr()
    assert out == ''
    assert error.splitlines()[-1].startswith('nni-cafenet: ')
    assert says in error


def test_inspect_refuses_a_wrong_shape_and_a_wrong_name(nets, capsys):
    assert cli.main(['inspect', 'my_nets:small', '--input', '1', '3', '9', '9']) == 2
    assert 'is rejected by the model' in capsys.readouterr().err
    assert cli.main(['inspect', 'resnet51', '--input', '1', '3', '9', '9']) == 2
    assert "did you mean 'resnet50'" in capsys.readouterr().err


def test_inspect_tells_that_the_model_comes_first(capsys):
    with pytest.raises(SystemExit, match='2'):
        cli.main(['inspect', '--input', '1', '3', '4', '4', 'resnet18'])
    error = capsys.readouterr().err
    assert error.startswith('usage: nni-cafenet inspect MODEL --input N [N ...] [options]')
    assert 'required: MODEL' in error


def test_inspect_checks_files_before_any_work(nets, capsys):
    for options in (['--json', 'missing/a.json'], ['--plot', 'a.jpg']):
        assert cli.main(['inspect', 'my_missing:net', '--input', '1', *options]) == 2
        assert 'my_missing' not in capsys.readouterr().err


def test_inspect_stops_quietly_when_interrupted(nets, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('nni_cafenet.cli.loading.load_model', interrupt)
        assert cli.main(SMALL) == 130
    assert 'Stopped' in capsys.readouterr().err


def test_inspect_stops_quietly_when_nobody_reads_on(nets, capsys, monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, 'w') as nobody:
        monkeypatch.setattr(sys, 'stdout', nobody)
        assert cli.main(SMALL) == 1
    assert 'pipe' not in capsys.readouterr().err.lower()
