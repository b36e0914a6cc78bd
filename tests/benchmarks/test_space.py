import json

import pytest

import space


def rows(**columns):
    return {
        'ours': [{'seconds': 2.0, 'cpu_seconds': 1.5, 'memory_growth': 20, **columns}],
        'modelopt': [{'why': 'broken'}],
    }


def test_medians_and_dashes():
    lines = space.page(
        {'machine': 'here', 'models': {'a': rows(), 'b': rows(seconds=4.0)}, 'depth': {'depth': []}}, 'seconds'
    )
    table = [' '.join(line.split()) for line in lines.splitlines()]
    assert '| a | 2.00 s | +20 MiB | - | - |' in table
    assert any(line.startswith('| median | 3.00 s |') for line in table)
    assert '-: modelopt, b: broken' in table


def test_a_fresh_process_a_model_and_growth_with_depth(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        space, 'row_of', lambda tool, model, **options: asked.append((tool, model)) or rows()['ours'][0]
    )
    space.main(
        [
            *('--models', 'resnet18', '--tools', 'ours', '--rounds', '1', '--depths', '1', '2'),
            *('--output', str(tmp_path)),
        ]
    )
    assert asked == [('ours', 'resnet18')]
    result = json.loads((tmp_path / 'space.json').read_text())
    assert result['depth']['depth'] == [1, 2]
    assert all(seconds > 0 for seconds in result['depth']['seconds'])
    assert 'building by depth, exponent' in (tmp_path / 'space.md').read_text()


def test_a_model_that_is_unknown_is_named(capsys):
    with pytest.raises(SystemExit):
        space.options_of(['--models', 'resnet19'])
    assert "'resnet19' is no classifier" in capsys.readouterr().err
