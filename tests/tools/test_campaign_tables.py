from __future__ import annotations

import pytest

from campaign import campaign, cases
from campaign.faults import KINDS, Fault
from campaign.options import RUN_NAMES, parsed
from campaign.outcome import differences, leftovers
from campaign.stages import RUNS, phases_of


def record(same, **more):
    fields = {'key': 'k', 'run': 'search', 'phase': 'start', 'kind': 'kill', 'problem': '' if same else 'no end'}
    return {**fields, **more, 'same': same}


def test_each_run_has_a_description():
    assert list(RUN_NAMES) == list(RUNS)
    options = parsed([])
    assert options.run == list(RUNS)
    assert options.kind == list(KINDS)


def test_operations_belong_to_phases():
    paths = [
        '.',
        '.run.json.0123abcd.tmp',
        'run.json',
        '.',
        'supernet.ckpt',
        'history.jsonl',
        'finalists/1',
        'slim.pt',
        '.',
    ]
    phases = ['start', 'start', 'start', 'start', 'supernet', 'search', 'finalists', 'writing', 'writing']
    assert phases_of(paths) == phases


def test_cases_cover_every_operation_once_a_kind():
    expected = cases.Expected({}, ('',) * 10, ('start',) * 5 + ('other',) * 5)
    found = cases.cases_of('search', expected, ['kill', 'torn'], 2, seed=0)
    assert sorted((each.kind, each.faults[0].at) for each in found) == [
        ('kill', 1),
        ('kill', 3),
        ('kill', 5),
        ('torn', 2),
        ('torn', 4),
    ]
    everything = cases.cases_of('search', expected, ['kill'], 1, seed=3)
    assert [each.faults[0].at for each in everything] == [1, 2, 3, 4, 5]


def test_chains_are_the_same_for_a_seed():
    expected = cases.Expected({}, ('',) * 100, ('start',) * 100)
    first, again, other = (cases.chains_of('search', expected, list(KINDS), 5, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(2 <= len(each.faults) <= 4 and each.kind == 'chain' for each in first)


def test_tables():
    records = [
        record(True),
        record(True, kind='chain'),
        record(False, run='pruning', phase='writing', key='pruning: x'),
    ]
    text = campaign.tables(records)
    assert text.splitlines()[0].split() == '| run | struck in | kill | chain | all |'.split()
    assert text.splitlines()[2].split() == '| search | start | 1 of 1 | 1 of 1 | 2 of 2 |'.split()
    assert text.splitlines()[4].split() == '| all | | 1 of 2 | 1 of 1 | 2 of 3 |'.split()
    assert text.endswith('Not the same:\n\n- pruning: x (writing): no end')


def test_differences_name_the_place():
    assert differences({'a': {'b': 1}}, {'a': {'b': 1}}) == []
    assert differences({'a': {'b': 1}}, {'a': {'b': 2}, 'c': 3}) == [
        '/a/b: 1 expected, 2 found',
        '/c: null expected, 3 found',
    ]


def test_leftovers(tmp_path):
    for name in ('.a.0123abcd.tmp', 'a.json', '.slim.pt.77'):
        (tmp_path / name).touch()
    assert leftovers(tmp_path) == ['.a.0123abcd.tmp', '.slim.pt.77']


def test_the_key_of_a_case_names_its_faults():
    assert (
        cases.Case('search', 'start', (Fault('kill', 3), Fault('torn', 5))).key == 'search: kill at 3, then torn at 5'
    )


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--minutes', '0'], '0 must be above 0'),
        (['--every', '0'], '0 is below 1'),
        (['--run', 'nothing'], "invalid choice: 'nothing'"),
        (['--ever', '3'], 'unrecognized arguments'),
    ],
)
def test_bad_options(options, says, capsys):
    with pytest.raises(SystemExit) as error:
        parsed(options)
    assert error.value.code == 2
    assert says in capsys.readouterr().err
