import sys

import pytest

import start


def test_medians_of_imports_and_commands():
    result = {
        'machine': 'a machine',
        'base': [2.0, 4.0, 2.0],
        'added': {'import nni_cafenet': [0.1, 0.5, 0.2]},
        'commands': {'nni-cafenet --help': [0.3, 0.1, 0.2]},
    }
    lines = start.page(result).splitlines()
    assert '| import nni_cafenet | 0.200 s |' in ' '.join(lines[2].split())
    assert lines[2].rstrip(' |').endswith('10.0 %')
    assert '0.20 s' in lines[6]
    assert lines[-1] == 'a machine'


def test_every_command_is_timed():
    assert {'quickstart', 'prune', 'search', 'sensitivity', 'recipes', 'compare'} < set(start._commands())


def test_a_process_is_timed_and_its_last_line_is_kept():
    seconds, line = start._run([sys.executable, '-c', 'print(1); print("last")'], {})
    assert seconds > 0
    assert line == 'last'


def test_a_process_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match='boom'):
        start._run([sys.executable, '-c', 'raise ValueError("boom")'], {})
