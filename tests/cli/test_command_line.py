"""What all commands have in common: help, and how they end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nni_cafenet import cli


@pytest.mark.parametrize(
    ('command', 'teaches'),
    [
        ('quickstart', 'the same command resumes the run'),
        ('inspect', 'nni-cafenet inspect resnet50 --input 1 3 224 224'),
        ('prune', 'nni-cafenet prune --config job.yaml --seed 1 --output out1'),
        ('search', 'nni-cafenet search --config examples/search.yaml'),
        ('train-slim', 'nni-cafenet train-slim out --from inherited'),
        ('export', 'nni-cafenet export out --onnx slim.onnx'),
        ('report', 'nni-cafenet report out'),
    ],
)
def test_help_teaches_and_imports_nothing_heavy(command, teaches):
    code = (
        'import sys\n'
        'from nni_cafenet import cli\n'
        f'try:\n    cli.main(["{command}", "--help"])\nexcept SystemExit:\n    pass\n'
        'print([name for name in ("torch", "nni", "numpy") if name in sys.modules], file=sys.stderr)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert teaches in done.stdout
    assert done.stderr.strip() == '[]'


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, '-m', 'nni_cafenet', 'inspect'], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: nni-cafenet inspect')


def test_no_command_prints_the_help(capsys):
    assert cli.main([]) == 2
    assert 'nni-cafenet quickstart' in capsys.readouterr().out
