"""README and docs: their Python runs as it stands, their links and paths lead somewhere.

The blocks of a page run in order and share their names, as a reader would use them. A block that opens with
```` ```python fragment ```` needs what a page cannot have (your data, a web server) and is compiled only.
"""

from __future__ import annotations

import ast
import functools
import logging
import re
from pathlib import Path

import pytest
from torch.utils.data import TensorDataset

import nni_cafenet.testing
from nni_cafenet.analysis.rules import registry

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path for path in (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/*.md')))}
FENCE = re.compile(r'^```(.*)\n((?:.*\n)*?)```$', re.MULTILINE)
LONG = {'multi_trial.md', 'pruning.md'}
"""Pages whose trainings take minutes."""


def blocks(name: str) -> list[tuple[str, str]]:
    """Return (what stands behind the fence, text) of all blocks of a page."""
    return FENCE.findall(PAGES[name].read_text(encoding='utf-8'))


def with_python() -> list[str]:
    return [name for name in PAGES if any(kind == 'python' for kind, _ in blocks(name))]


def execute(name: str) -> dict[str, object]:
    """Run the Python blocks of a page in order; return the names that they define."""
    names: dict[str, object] = {'__name__': 'page'}
    for kind, text in blocks(name):
        if kind == 'python':
            exec(compile(text, name, 'exec'), names)
    return names


@pytest.fixture
def page(monkeypatch, caplog, capsys, tmp_path):
    """``page('extending.md')``: what the page's code defines, prints and warns of, with registrations of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, '_RULES', dict(registry._RULES))
    monkeypatch.setattr(registry, '_LAYERS', dict(registry._LAYERS))
    monkeypatch.setattr('nni_cafenet.pruning.results.write_report', lambda folder, report: None)  # no page is about it

    def run(name: str):
        with caplog.at_level(logging.WARNING, 'nni_cafenet'):
            names = execute(name)
        return names, capsys.readouterr().out, caplog.text

    return run


@pytest.fixture
def few_pictures(monkeypatch):
    """The code of a page as it stands, on a tenth of the digits."""
    whole = nni_cafenet.testing.digits

    def digits(split: str = 'train') -> TensorDataset:
        return TensorDataset(*whole(split)[:128])

    monkeypatch.setattr(nni_cafenet.testing, 'digits', digits)


@pytest.mark.parametrize('name', sorted({*with_python()} - {'extending.md', 'pruner.md'} - LONG - {'experiments.md'}))
def test_it_runs(page, few_pictures, name: str):
    page(name)


@pytest.mark.parametrize('name', ['experiments.md'])
def test_it_runs_on_all_pictures(page, name: str):
    page(name)


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('name', sorted(LONG))
def test_it_runs_in_minutes(page, name: str):
    page(name)


@pytest.mark.parametrize('name', PAGES)
def test_what_cannot_run_alone_compiles(name: str):
    for kind, text in blocks(name):
        if kind.startswith('python'):
            assert kind in ('python', 'python fragment')
            compile(text, name, 'exec')


@pytest.mark.parametrize('name', PAGES)
def test_every_block_says_what_it_is(name: str):
    for kind, text in blocks(name):
        assert kind.partition(' ')[0] in ('python', 'sh', 'text', 'yaml', '')
        assert kind or not re.search(r'^(from|import) |^\w+ = |^\w+\(', text, re.MULTILINE), text


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


def test_pruner(page):
    names, printed, _ = page('pruner.md')
    same, shapes = "True {'weight': (8, 8, 3, 3)}", printed.splitlines()
    assert shapes.count(same) == 1
    assert shapes[-1] == 'True'
    widths = names['pruner'].pruned.widths
    assert all(width >= 8 for label, width in widths.items() if label.startswith('layer3'))  # a quarter of 32, in bins
    assert 'conv1' not in names['masks']


# --- links and paths ------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Return what links into a page may name: its headings, as GitHub and the site spell them."""
    text = FENCE.sub('', path.read_text(encoding='utf-8'))
    return {
        re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')
        for heading in re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    }


@pytest.mark.parametrize(
    'path', [*PAGES.values(), ROOT / 'SECURITY.md', ROOT / 'benchmarks/README.md'], ids=lambda p: p.name
)
def test_links_lead_to_files_and_headings(path: Path):
    text = FENCE.sub('', path.read_text(encoding='utf-8'))
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if target.startswith(('https://', 'http://')):
            continue
        file, _, anchor = target.partition('#')
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize('name', PAGES)
def test_paths_that_pages_name_exist(name: str):
    """Of this checkout, in code spans: `tests/space/test_bins.py`, `benchmarks/search.py --help`."""
    text = FENCE.sub('', PAGES[name].read_text(encoding='utf-8'))
    spans = ' '.join(re.findall(r'`+([^`]+)`+', text))
    for path in re.findall(r'(?<![\w./])(?:tests|tools|benchmarks|examples|docs|nni_cafenet)/[\w./-]*\w/?', spans):
        assert (ROOT / path).exists(), path


ELSEWHERE = {
    *('set_to_none', 'weights_only', 'memory_format', 'width_mult', 'momentum', 'transform', 'shuffle'),  # torch
    *('id', 'formatter', 'learning_rate', 'reward_metric_name', 'filter'),  # NNI
    'latency',  # budgets of the command line
    *('features_only', 'reduce_range', 'format'),  # timm, ONNX Runtime, Ultralytics
}


@functools.cache
def parameters() -> set[str]:
    """Return the names of all arguments and fields in the package."""
    names = set(ELSEWHERE)
    for path in (ROOT / 'nni_cafenet').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return names


@pytest.mark.parametrize('name', PAGES)
def test_options_that_pages_name_exist(name: str):
    """In code spans: `finalists=4`, `CafeNet('50%', preset='paper')`."""
    text = FENCE.sub('', PAGES[name].read_text(encoding='utf-8'))
    for span in re.findall(r'`+([^`]+)`+', text):
        assert set(re.findall(r'(?<![\w.-])([a-z_]\w*)=(?!=)', span)) <= parameters(), span


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(r"pip install '\.\[test\]' && (pytest.*?) +#", PAGES['README.md'].read_text(encoding='utf-8'))
    assert command is not None
    assert f'\n{command[1]}\n' in (ROOT / '.ci/run').read_text(encoding='utf-8')
    assert command[1] in PAGES['CONTRIBUTING.md'].read_text(encoding='utf-8')
