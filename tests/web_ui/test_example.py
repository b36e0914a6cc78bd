"""examples/web_ui.py, watched in NNI's web UI while it runs.

``NNI_CAFENET_SCREENSHOTS=docs/images pytest tests/web_ui`` runs it at full length and keeps the pictures.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from nni.experiment import rest

EXAMPLE = pathlib.Path(__file__).parents[2] / 'examples' / 'web_ui.py'
SHORT = '--epochs 2 --generations 1 --finalists 1'.split()
OPTIONS = [] if os.environ.get('NNI_CAFENET_SCREENSHOTS') else SHORT


@pytest.fixture
def example(tmp_path, driver):
    """Run the example where there is a browser, and end it by Ctrl-C: ``example(word)`` asks NNI's REST API."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(EXAMPLE), '--port', str(port), '--output', str(tmp_path / 'runs'), '--keep-open']
    with open(tmp_path / 'output', 'w') as output:
        process = subprocess.Popen(
            [*command, *OPTIONS],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, 'HOME': str(tmp_path)},
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
        )

    def get(word: str):
        assert process.poll() is None, 'the example has ended'
        return rest.get(port, word)

    get.port = port
    try:
        yield get
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                rest.delete(port, 'experiment')
            process.kill()
            process.wait()
        print((tmp_path / 'output').read_text())  # pytest shows it where the test has failed


def wait_until(condition, seconds=600):
    """Return the condition's first true value; while nobody answers it is not true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.3)
    return pytest.fail(f'not true within {seconds} seconds')


@pytest.mark.timeout(1200)
def test_watching_the_example(example, ui, tmp_path):
    wait_until(lambda: example('trial-jobs'))
    page = ui(example.port).detail()

    def points():
        page.refresh()
        return sum(map(len, page.intermediate_results().values()))

    first = wait_until(points)
    wait_until(lambda: points() > first)

    wait_until(lambda: 'stays open' in (tmp_path / 'output').read_text())
    expected, by_cost = [each for each in map(drawn, example('trial-jobs')) if each], operator.itemgetter('macs')
    page.detail()
    page.add_columns('stage (space)', 'MACs (space)', 'macs (metric)')
    plot = page.hyper_parameters()
    page.picture('web-ui-hyper-parameters')
    assert set(plot.axes) == set(expected[0])
    assert plot.axes[-7:] == ['stage', 'MACs', 'MACs %', 'params', 'default', 'macs', 'search_score']
    assert sorted(plot.lines, key=by_cost) == [pytest.approx(line) for line in sorted(expected, key=by_cost)]

    trials = page.trials()
    assert {trial['Status'] for trial in trials} == {'SUCCEEDED'}
    stages = [trial['stage (space)'] for trial in trials]
    before, finalists = 1 + stages.count('search'), len(expected) - 1
    assert stages == ['supernet'] + ['search'] * (before - 1) + ['finalist'] * finalists + ['baseline']
    assert 2 <= before <= 3
    assert {trial['Default metric'] for trial in trials[:before]} == {'--'}
    assert [(trial['MACs (space)'], trial['macs (metric)']) for trial in trials[before:]] == [
        (str(finalist['MACs']), str(finalist['macs'])) for finalist in expected
    ]

    page.intermediate_results()
    page.picture('web-ui-intermediate-results')
    best = [float(trial['Default metric']) for trial in page.overview().top_trials()]
    page.picture('web-ui-overview', {str(tmp_path): '~', sys.executable: 'python'})
    assert best == pytest.approx(sorted((finalist['default'] for finalist in expected), reverse=True), abs=1e-6)


def drawn(trial):
    """What the plot must show of a trial, as NNI has recorded it: ``{axis: value}``; nothing without a final result."""
    if 'finalMetricData' not in trial:
        return {}
    summary = json.loads(trial['hyperParameters'][0])['parameters']['mutation_summary']
    return {**summary, **json.loads(json.loads(trial['finalMetricData'][-1]['data']))}
