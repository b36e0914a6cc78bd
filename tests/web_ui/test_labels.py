"""Axes of networks with 40 groups in NNI's Hyper-parameter tab: every label can be read, on a page of 1500 pixels."""

from __future__ import annotations

import pytest

from nni_cafenet.space.web_ui_summary import mutation_summary, published_axes

# [left, right] of every label, from left to right.
LABELS = """
return [...document.querySelectorAll('.parcoords .dimension .label')].map(label => {
    const box = label.getBoundingClientRect();
    return [box.left, box.right, label.textContent];
}).sort((a, b) => a[0] - b[0]);
"""


@pytest.mark.parametrize('name', ['efficientnet_b0', 'resnet50', 'densenet121', 'mobilenet_v2', 'resnet18'])
def test_no_two_labels_overlap_and_none_is_cut_off(portal, family, name):
    space = family(name)
    trials = []
    for number, share in enumerate((0.3, 0.5, 0.7)):
        summary = mutation_summary(space, space.uniform_widths(share), stage='search')
        final = {'default': 0.81234 + number / 10, 'score': 1.23456 - number / 10}
        trials.append((summary, [], final, 'SUCCEEDED'))
    page = portal(trials, published_axes(space)).detail()
    plot = page.hyper_parameters()
    assert len(plot.lines) == 3
    assert plot.axes[-6:] == ['stage', 'MACs', 'MACs %', 'params', 'default', 'score']
    assert len(plot.axes) <= 12 + 6
    labels = page.driver.execute_script(LABELS)
    page.picture(f'labels-{name}')
    assert len(labels) == len(plot.axes)
    gaps = [after[0] - before[1] for before, after in zip(labels, labels[1:])]
    assert min(gaps) > 4, labels
    assert labels[0][0] > 0
    assert labels[-1][1] < 1500
