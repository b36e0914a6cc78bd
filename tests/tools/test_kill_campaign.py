from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'kill_campaign.py'


def campaign(*options, **more):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, str(SCRIPT), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)


def test_help_teaches():
    done = campaign('--help')
    assert done.returncode == 0
    for words in ('--every K', 'pruning    prune()', 'power      SIGKILL, and all', 'examples:', 'Exit status'):
        assert words in done.stdout


# Two processes for each of a few cases, of which one is torn and one a chain. All cases: the script itself.
@pytest.mark.timeout(600)
def test_a_run_that_is_struck_ends_the_same(tmp_path):
    options = ['--run', 'search', '--kind', 'kill', 'torn', '--every', '90', '--chains', '1', '--no-fresh']
    done = campaign(*options, '--output', str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / 'campaign.json').read_text())
    assert found['same'] == found['done'] == found['cases'] >= 3
    assert {record['codes'][0] for record in found['records']} == {-9}
    assert 'All of them ended the same, to the bit.' in (tmp_path / 'campaign.md').read_text()


@pytest.mark.sweep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('run', ['search', 'family', 'pruning', 'latency', 'export', 'command'])
def test_every_kind_of_fault(tmp_path, run):
    done = campaign('--run', run, '--every', '13', '--output', str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
