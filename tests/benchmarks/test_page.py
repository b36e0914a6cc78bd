import pytest

from zoo.page import below_goal, by_key, comparisons, failures, family_tables, goals, page, reasons, totals, unmeasured


def row(tool, model, **columns):
    common = {'tool': tool, 'model': model, 'family': 'classification', 'shape': [3, 8, 8], 'verdict': 'exact'}
    return {**common, 'seconds': 1.0, 'cpu_seconds': 1.0, **columns}


def ours(model, half, **columns):
    checks = {
        'groups': 7,
        'macs': 2_340_000_000,
        'share_that_can_change': 0.9876,
        'share_of_params': 0.5,
        'error': 0.0,
        'why': '',
    }
    memory = {'memory': 1000, 'memory_growth': 234}
    return row('ours', model, macs_at_half=half, **checks, **memory, **columns)


@pytest.fixture
def rows():
    return by_key(
        [
            ours('alpha', 0.25, fixed={'is an output of the model': 2, 'is cut at 3': 1}),
            {**ours('beta', 0.30, fixed={'is cut at 17': 4}), 'seconds': 4.0, 'cpu_seconds': 2.0},
            row('torch-pruning', 'alpha', macs_at_half=0.26, groups=5),
            row('torch-pruning', 'beta', macs_at_half=0.28, groups=5, verdict='eval only', why='ValueError: of 12'),
            {
                'tool': 'torch-pruning',
                'model': 'gamma',
                'family': 'video',
                'verdict': 'failed',
                'why': 'ValueError: of 13',
            },
            {'tool': 'modelopt', 'model': 'gamma', 'family': 'video', 'verdict': 'out of time', 'why': 'more than 9 s'},
            row('modelopt', 'alpha', macs_at_half=0.4, macs_at_half_of_finest=0.24, groups=3, choices=9),
        ]
    )


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_the_later_row_of_a_model_stands():
    rows = by_key([row('ours', 'alpha', verdict='failed'), row('ours', 'alpha'), row('modelopt', 'alpha')])
    assert [(key, row['verdict']) for key, row in rows.items()] == [
        (('ours', 'alpha'), 'exact'),
        (('modelopt', 'alpha'), 'exact'),
    ]


def test_totals_count_verdicts_and_take_medians(rows):
    lines = {tuple(cells(line)[:2]): cells(line)[2:] for line in totals(rows).splitlines()[2:]}
    assert lines['nni_cafenet', 'all'] == ['2', '2', '0', '0', '0', '0', '0', '1.5', '2.0', '0.275']
    assert lines['Torch-Pruning', 'all'] == ['3', '1', '0', '1', '0', '1', '0', '1.0', '1.0', '0.270']
    assert lines['Torch-Pruning', 'video'] == ['1', '0', '0', '0', '0', '1', '0', '-', '-', '-']
    assert lines['ModelOpt', 'video'][6] == '1'


def test_the_share_that_changes_is_compared_where_the_other_tool_works(rows):
    of_torch_pruning, of_modelopt = comparisons(rows)
    assert 'than Torch-Pruning on 1 of the 2 models' in of_torch_pruning
    assert of_torch_pruning.endswith('more on beta (0.300, 0.280).')
    assert 'than ModelOpt on 0 of the 1 models' in of_modelopt
    assert of_modelopt.endswith('more on alpha (0.250, 0.240).')


def test_a_family_table_has_a_line_a_model_and_columns_of_every_tool(rows):
    sizes, table = family_tables(rows, ['alpha', 'beta'])
    assert sizes == 'One sample: 3 x 8 x 8.'
    alpha, beta = (cells(line) for line in table.splitlines()[2:])
    assert alpha[:10] == ['alpha', '7', '2.34G', '98.76%', '50.00%', '0.250', '1.0', '1,234 (+234)', '0', 'exact']
    assert alpha[10:] == ['0.260', '1.0', 'exact', '3, 9', '0.400 (0.240)', '1.0', 'exact']
    assert beta[6] == '2.0'
    assert beta[10:] == ['0.280', '1.0', 'eval only', '-', '-', '-', '-']


def test_a_model_that_failed_has_its_verdict_alone():
    rows = by_key([{'tool': 'ours', 'model': 'alpha', 'family': 'video', 'verdict': 'out of time', 'why': 'more'}])
    assert cells(family_tables(rows, ['alpha'])[1].splitlines()[2]) == ['alpha', *['-'] * 8, 'out of time']


def test_reasons_are_counted_by_model_and_layer_whatever_their_numbers(rows):
    lines = [cells(line) for line in reasons(rows).splitlines()[2:]]
    assert lines == [['is cut at N', '2', '5'], ['is an output of the model', '1', '2']]


def test_failures_are_gathered_by_message(rows):
    lines = [cells(line) for line in failures(rows).splitlines()[2:]]
    assert lines == [
        ['Torch-Pruning', 'eval only', 'ValueError: of N', '1', 'beta'],
        ['Torch-Pruning', 'failed', 'ValueError: of N', '1', 'gamma'],
        ['ModelOpt', 'out of time', 'more than 9 s', '1', 'gamma'],
    ]


def test_the_page_has_a_part_a_family_that_was_measured(rows):
    text = page(rows)
    headings = [line for line in text.splitlines() if line.startswith('#')]
    assert headings == [
        '# Coverage',
        '## Totals',
        '## How to read it',
        '## Classification',
        '## Video',
        '## What is fixed, and why',
        '## What went wrong',
    ]


def test_the_page_of_our_rows_alone_names_no_other_columns():
    text = page(by_key([ours('alpha', 0.25, fixed={}, machine='a machine', tool_version='1.2', python='3', torch='2')]))
    assert 'T-P' not in text
    assert '- a machine\n- nni_cafenet 1.2 (Python 3, torch 2)' in text
    assert 'Nothing is.' in text
    assert 'Nothing did.' in text


def test_goals_count_models_and_name_those_that_take_long(rows):
    rows['ours', 'beta'].update(share_that_can_change=0.5, cpu_seconds=12.5)
    most, quick = goals(rows)
    assert '1 of the 2 models (50%)' in most
    assert quick.endswith('in 1 of them; longer: beta (12.5 s).')
    assert goals({key: row for key, row in rows.items() if key[0] != 'ours'}) == []


def test_models_below_the_goal_have_their_reasons(rows):
    assert below_goal(rows) == ''
    rows['ours', 'alpha']['share_that_can_change'] = 0.5
    assert cells(below_goal(rows).splitlines()[2]) == [
        'alpha',
        '50.00%',
        'is an output of the model (2); is cut at N (1)',
    ]


def test_the_page_of_other_packages_names_them_and_the_commits():
    found = [{**ours(f'{family}:x', 0.25, fixed={}), 'family': family} for family in ('timm', 'smp')]
    text = page(by_key([{**row, 'commit': 'abc'} for row in found]))
    assert text.startswith('# Coverage of other packages')
    assert 'models of timm and segmentation-models-pytorch can change,' in text
    assert '## segmentation-models-pytorch' in text
    assert '--family timm smp' in text
    assert '- Commits (rows): abc (2)' in text


def test_models_without_a_row_are_counted():
    rows = by_key([{**ours('r3d_18', 0.25), 'family': 'video'}])
    assert unmeasured(rows) == ['Models without a row yet: 2 of 3 of video']
    assert unmeasured({}) == []


def test_paths_of_outputs_are_no_links():
    rows = by_key([ours('alpha', 0.25, fixed={"is an output of the model ([1]['boxes'])": 2})])
    assert "([N]\\['boxes'])" in reasons(rows)
