import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'benchmarks' / 'coverage.py'


@pytest.fixture
def coverage():
    spec = importlib.util.spec_from_file_location('coverage_benchmark', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measured(coverage, monkeypatch):
    """What was measured, as (tool, model); resnet18 always fails."""
    calls = []

    def row_of(tool, model, **_):
        calls.append((tool, model))
        return {'tool': tool, 'model': model, 'verdict': 'failed' if model == 'resnet18' else 'exact', 'why': 'x'}

    monkeypatch.setattr(coverage, 'row_of', row_of)
    return calls


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--models', 'resnet19'], "--models: 'resnet19' is no model of this benchmark"),
        (['--family', 'audio'], "invalid choice: 'audio'"),
        (['--rows', 'nowhere.jsonl'], '--rows: there is no file nowhere.jsonl'),
    ],
)
def test_bad_arguments_are_named(coverage, arguments, message, capsys):
    with pytest.raises(SystemExit):
        coverage.options_of(arguments)
    assert message in capsys.readouterr().err


def test_a_tool_that_is_not_installed_is_named(coverage, monkeypatch, capsys):
    monkeypatch.setattr(coverage, 'installed_tools', lambda: ['ours'])
    with pytest.raises(SystemExit):
        coverage.options_of(['--tools', 'modelopt'])
    assert '--tools: modelopt is not installed; pip install nni-cafenet[bench]' in capsys.readouterr().err


def test_families_and_models_choose(coverage):
    names = [case.name for case in coverage.wanted(coverage.options_of(['--family', 'video']))]
    assert names == ['r3d_18', 'mc3_18', 'r2plus1d_18']
    names = [case.name for case in coverage.wanted(coverage.options_of(['--models', 'vgg11', 'alexnet']))]
    assert names == ['alexnet', 'vgg11']


def test_a_run_goes_on_where_it_stopped_and_retries_failures_when_told(coverage, measured, tmp_path):
    arguments = ['--tools', 'ours', '--output', str(tmp_path / 'rows.jsonl'), '--models', 'resnet18']
    coverage.measure(coverage.options_of(arguments))
    rows = coverage.measure(coverage.options_of([*arguments, 'vgg11']))
    assert measured == [('ours', 'resnet18'), ('ours', 'vgg11')]
    assert list(rows) == measured
    coverage.measure(coverage.options_of([*arguments, 'vgg11', '--retry']))
    assert measured[2:] == [('ours', 'resnet18')]


def test_rows_of_several_files_make_one_page(coverage, monkeypatch, tmp_path, capsys):
    paths = [tmp_path / 'a.jsonl', tmp_path / 'b.jsonl']
    for path, tool in zip(paths, ('ours', 'modelopt')):
        row = {'tool': tool, 'model': 'vgg11', 'family': 'classification', 'verdict': 'failed', 'why': f'of {tool}'}
        path.write_text(json.dumps(row) + '\n')
    page = tmp_path / 'page.md'
    monkeypatch.setattr(sys, 'argv', ['coverage.py', '--rows', *map(str, paths), '--markdown', str(page)])
    coverage.main()
    assert 'of ours' in page.read_text()
    assert 'of modelopt' in page.read_text()
    assert 'vgg11' in capsys.readouterr().out
