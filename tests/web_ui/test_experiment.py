"""The web UI of a running experiment."""

from __future__ import annotations

import time


def wait_until(condition, seconds=60):
    """Return the condition's first true value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f'not true within {seconds} seconds'
        time.sleep(0.2)
    return value


def test_watching_an_experiment(experiment, ui):
    watched = experiment('stages')
    wait_until(watched.list_trial_jobs)
    page = ui(watched.port).detail()

    def points():
        page.refresh()
        return sum(map(len, page.intermediate_results().values()))

    first = wait_until(points)
    wait_until(lambda: points() > first)
    wait_until(lambda: watched.get_status() == 'DONE')
    page.detail()
    page.add_columns('stage (space)', 'macs (space)', 'macs (metric)')
    shown = 'Status', 'stage (space)', 'macs (space)', 'macs (metric)', 'Default metric'
    assert [tuple(row[title] for title in shown) for row in page.trials()] == [
        ('SUCCEEDED', 'supernet', '', '', '--'),
        ('SUCCEEDED', 'search', '', '', '--'),
        ('SUCCEEDED', 'search', '', '', '--'),
        ('SUCCEEDED', 'finalist', '4000', '4000', '0.3 (FINAL)'),
        ('SUCCEEDED', 'finalist', '5000', '5000', '0.4 (FINAL)'),
    ]
    plot = page.hyper_parameters()
    assert plot.axes == ['stage', 'conv1', 'fc', 'macs', 'default']
    assert sorted(plot.lines, key=lambda line: line['default']) == [
        {'stage': 'finalist', 'conv1': 8, 'fc': 30, 'macs': 4000, 'default': 0.3},
        {'stage': 'finalist', 'conv1': 4, 'fc': 50, 'macs': 5000, 'default': 0.4},
    ]
    page.picture('detail-hyper-parameter')
    assert [row['Default metric'] for row in page.overview().top_trials()] == ['0.4', '0.3']
    page.picture('overview')
