"""The pages of the documentation whose code runs from top to bottom."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from nni_cafenet.channels.rules import registry

DOCS = Path(__file__).parents[1] / 'docs'


@pytest.fixture
def page(monkeypatch, caplog, capsys):
    """``page('extending.md')``: what the page's code defines, prints and warns of, with registrations of its own."""
    monkeypatch.setattr(registry, '_RULES', dict(registry._RULES))
    monkeypatch.setattr(registry, '_LAYERS', dict(registry._LAYERS))
    monkeypatch.setattr('nni_cafenet.pruning.results.write_report', lambda folder, report: None)  # no page is about it

    def run(name: str):
        names = {'__name__': 'page'}
        with caplog.at_level(logging.WARNING, 'nni_cafenet'):
            blocks = re.findall(r'```python\n(.*?)```', (DOCS / name).read_text(), re.DOTALL)
            for block in blocks:
                exec(compile(block, name, 'exec'), names)
        return names, capsys.readouterr().out, caplog.text

    return run


def test_extending(page):
    names, printed, warned = page('extending.md')
    lines = [line.strip() for line in printed.splitlines()]
    assert re.search(r'^\| stem +\| +8 \| +[\d,]+ \| stem +\| head +\|$', printed, re.MULTILINE)
    assert lines.count("('2',)") == 1
    assert lines.count("('0', '2')") == 1
    assert "('0', '1')" in lines
    assert '5' in lines
    assert '4896' in lines
    assert names['space'].labels == ('wide', 'back')
    reasons = {record.label: record.reason for record in names['space'].graph.fixed}
    assert reasons['stem'] == 'at another width the network computes something else'
    assert 'The channels of stem keep their width: at another width the network computes' in warned
    assert 'The channels of 0 keep their width: at another width the model fails' in warned

    # without the rule that the page registers
    del registry._RULES['my_library.rotate']
    with pytest.raises(ValueError, match=r'stem.*reaches my_library.rotate, which has no rule'):
        names['WidthSpace'](names['Rotating'](), example_input=(1, 3, 8, 8))


def test_pruner(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, printed, _ = page('pruner.md')
    same, shapes = "True {'weight': (8, 8, 3, 3)}", printed.splitlines()
    assert shapes.count(same) == 1
    assert shapes[-1] == 'True'
    widths = names['pruner'].pruned.widths
    assert all(width >= 8 for label, width in widths.items() if label.startswith('layer3'))  # a quarter of 32, in bins
    assert 'conv1' not in names['masks']
