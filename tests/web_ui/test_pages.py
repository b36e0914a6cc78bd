"""How NNI's pages show what trials send: the layout of summaries and metrics that CafeNet's trials rely on."""

from __future__ import annotations

import struct

import pytest

STAGES = [
    ({'stage': 'supernet'}, [0.1, 0.3], None, 'SUCCEEDED'),
    ({'stage': 'search'}, [0.5, 0.6], None, 'SUCCEEDED'),
    ({'stage': 'finalist', 'conv1': 8, 'fc': 30, 'macs': 4000}, [{'default': 0.7, 'epoch': 1}], 0.8, 'SUCCEEDED'),
    ({'stage': 'finalist', 'conv1': 4, 'fc': 50, 'macs': 5000}, [{'default': 0.6, 'epoch': 1}], 0.9, 'SUCCEEDED'),
    ({'stage': 'finalist', 'conv1': 6, 'fc': 40, 'macs': 4500}, [0.4], None, 'FAILED'),
]


def test_a_line_a_finalist(portal):
    plot = portal(STAGES).detail().hyper_parameters()
    assert plot.axes == ['stage', 'conv1', 'fc', 'macs', 'default']
    assert sorted(plot.lines, key=lambda line: line['default']) == [
        {'stage': 'finalist', 'conv1': 8, 'fc': 30, 'macs': 4000, 'default': 0.8},
        {'stage': 'finalist', 'conv1': 4, 'fc': 50, 'macs': 5000, 'default': 0.9},
    ]


def test_values_between_ticks(portal):
    trials = [
        ({'stage': 'finalist', 'conv1': width, 'macs': 1000 * width}, [], 0.5, 'SUCCEEDED') for width in (3, 7, 17)
    ]
    lines = portal(trials).detail().hyper_parameters().lines
    assert sorted(line['conv1'] for line in lines) == pytest.approx([3, 7, 17])


def test_a_published_space_comes_first_and_keeps_its_range(portal):
    space = {'stage': {'_type': 'choice', '_value': ['supernet', 'search', 'finalist']}}
    space |= {'fc': {'_type': 'randint', '_value': [1, 65]}, 'conv1': {'_type': 'randint', '_value': [1, 9]}}
    plot = portal(STAGES, space).detail().hyper_parameters()
    assert plot.axes == ['stage', 'fc', 'conv1', 'macs', 'default']
    assert [sorted(line[key] for line in plot.lines) for key in ('fc', 'conv1')] == [
        pytest.approx([30, 50]),
        pytest.approx([4, 8]),
    ]


def test_a_published_axis_without_values_breaks_the_lines(portal):
    space = {'layer1': {'_type': 'choice', '_value': [8, 16]}}
    plot = portal(STAGES, space).detail().hyper_parameters()
    assert plot.axes == ['layer1', 'stage', 'conv1', 'fc', 'macs', 'default']
    assert [set(line) for line in plot.lines] == [{'conv1', 'fc', 'macs', 'default'}] * 2


def test_results_of_a_trial_that_is_not_yet_listed(portal):
    page = portal([*STAGES, (None, [0.3], None, 'RUNNING')]).detail()
    assert list(page.intermediate_results()) == ['trial0', 'trial1', 'trial2', 'trial3', 'trial4']


def test_none_in_a_summary_leaves_the_page_blank(portal):
    from selenium.common.exceptions import TimeoutException

    page = portal([*STAGES, ({'stage': 'search', 'conv1': None}, [], None, 'SUCCEEDED')])
    page.driver.get(f'{page.url}/detail')
    with pytest.raises(TimeoutException, match='has no #tableList'):
        page.wait_for('#tableList', seconds=1)


def test_tables(portal):
    page = portal(STAGES).detail()
    page.add_columns('conv1 (space)', 'macs (metric)')
    assert [(row['Trial No.'], row['Status'], row['Default metric']) for row in page.trials()] == [
        ('0', 'SUCCEEDED', '--'),
        ('1', 'SUCCEEDED', '--'),
        ('2', 'SUCCEEDED', '0.8 (FINAL)'),
        ('3', 'SUCCEEDED', '0.9 (FINAL)'),
        ('4', 'FAILED', '0.4 (LATEST)'),
    ]
    assert [(row['conv1 (space)'], row['macs (metric)']) for row in page.trials()][2:] == [
        ('8', '4000'),
        ('4', '5000'),
        ('6', ''),
    ]
    assert page.open_trial(3).split() == ['stage:"finalist"', 'conv1:4', 'fc:50', 'macs:5000']
    assert [(row['ID'], row['Default metric']) for row in page.overview().top_trials()] == [
        ('trial3', '0.9'),
        ('trial2', '0.8'),
    ]
    assert page.status() == 'DONE'


def test_intermediate_results(portal):
    assert portal(STAGES).detail().intermediate_results() == {
        'trial0': [0.1, 0.3],
        'trial1': [0.5, 0.6],
        'trial2': [0.7],
        'trial3': [0.6],
        'trial4': [0.4],
    }


def test_pictures_are_1500_pixels_wide(portal, tmp_path):
    page = portal(STAGES).overview()
    page.pictures = tmp_path
    head = page.picture('overview').read_bytes()[:24]
    assert head[:8] == b'\x89PNG\r\n\x1a\n'
    width, height = struct.unpack('>II', head[16:])
    assert width == 1500
    assert 500 < height < 3000
