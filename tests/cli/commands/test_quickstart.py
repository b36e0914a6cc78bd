"""The quickstart as a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nni_cafenet import cli


@pytest.mark.parametrize(
    ('budget', 'says'),
    [('200%', 'full network'), ('1%', 'smallest'), ('-5%', 'budget'), ('half', 'half')],
)
def test_a_budget_out_of_reach_is_refused_before_anything_runs(tmp_path, capsys, budget, says):
    assert cli.main(['quickstart', '--output', str(tmp_path / 'out'), f'--budget={budget}']) == 2
    error = capsys.readouterr().err
    assert error.startswith('nni-cafenet: budget')
    assert says in error
    assert not (tmp_path / 'out' / 'supernet.ckpt').exists()


def test_interrupted_it_says_how_to_go_on(tmp_path):
    output = tmp_path / 'out'
    command = [sys.executable, '-m', 'nni_cafenet.cli', 'quickstart', '--output', str(output)]
    environment = {**os.environ, 'HOME': str(tmp_path), 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    try:
        _wait_for(output / 'supernet.ckpt', process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f'nni-cafenet quickstart --output {output} --budget 25% --seed 0' in errors
    assert (output / 'run.json').exists()


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 150
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
