"""Configurations out of files and options: all problems at once, each with its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from nni_cafenet.cli.config import FIELDS, Configuration, Given
from nni_cafenet.cli.yaml_files import parse_value, read_yaml, to_yaml
from nni_cafenet.errors import ConfigurationError
from nni_cafenet.options.kinds import budgets, epochs

LEAST = {
    'model.name': Given('--model', 'net.py:small'),
    'data.source': Given('--data', 'digits'),
    'output': Given('--output', 'out'),
}


@pytest.fixture
def file(tmp_path):
    """``file(text)``: a configuration file."""

    def write(text: str) -> str:
        (tmp_path / 'search.yaml').write_text(text)
        return str(tmp_path / 'search.yaml')

    return write


def problems(path, options=None):
    with pytest.raises(ConfigurationError) as error:
        Configuration.checked(path, LEAST if options is None else options)
    return str(error.value).splitlines()


def test_options_go_before_the_file_and_both_before_defaults(file):
    path = file('budget: 25%\nseed: 7\nsearch:\n  population: 10\n')
    made = Configuration.checked(path, {**LEAST, 'seed': Given('--seed', 3)})
    assert (made['budget'], made['seed'], made['search.population'], made['search.keep']) == ('25%', 3, 10, 0.5)


def test_defaults_follow_the_weights():
    weights = {'model.weights': Given('--weights', 'w.pt')}
    epochs = [
        Configuration.checked(None, options, trained=trained)['training.epochs']
        for options, trained in [(LEAST, False), ({**LEAST, **weights}, False), (LEAST, True)]
    ]
    assert epochs == [30, 5, 5]


def test_all_problems_at_once_with_their_places(file):
    path = file(
        'budgett: 50%\n'
        'modle: {}\n'
        'population: 3\n'
        'search:\n  population: -3\n  holdout: 1.5\n  generatons: 4\n  score: ""\n'
        'training: fast\n'
        'precision: half\n'
        'data: {source: "imagefoldr", batch_size: true}\n'
        'model: {input: [3], args: [1], classes: 2.5}\n'
        'space: {bins: "9:3", include: conv1, min_ratio: 2}\n'
    )
    first, *lines = problems(path, {})
    assert first == f'configuration {path}: 19 problems'
    for line in [
        'budgett: is not a field; did you mean budget? allowed: model, data, space, training, search, budget, output, seed',
        'modle: is not a field; did you mean model?',
        'population: is not a field; did you mean search.population?',
        'search.population: -3: must be a whole number, 2 or more',
        'search.holdout: 1.5: must be a number between 0 and 1',
        'search.generatons: is not a field; did you mean search.generations? allowed in search: method, population',
        "search.score: '': must be a name",
        'training: fast: must hold fields: epochs, finetune_epochs',
        'precision: half: must be one of 32-true, 16-mixed, bf16-mixed',
        'data.batch_size: True: must be a whole number, 1 or more',
        'data.source: imagefoldr: must be digits, imagefolder:DIR',
        'model.input: 3: must be the sizes of an input, the batch first',
        'model.args: 1: must be arguments as NAME=VALUE',
        'model.classes: 2.5: must be a whole number, 1 or more',
        'space.bins: 9:3: must be SMALLEST:LARGEST',
        'space.include: conv1: must be a list of layers',
        'space.min_ratio: 2: must be a number from 0 to 1',
    ]:
        assert any(each.startswith(f'  {line}') for each in lines), line
    missing = [line.strip() for line in lines if 'is missing' in line]
    assert missing == [
        'model.name: is missing; give --model, or name: in model: in a configuration file',
        'output: is missing; give --output, or output: in a configuration file',
    ]


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        (
            {'search.method': 'short-trainings', 'model.weights': 'w.pt'},
            'search.method: short-trainings start from fresh',
        ),
        ({'search.method': 'knapsack', 'model.weights': 'w.pt'}, 'search.method: knapsack keeps the most important'),
        ({'search.halving': [2, 4], 'model.weights': 'w.pt'}, 'search.halving: applies to searches from fresh weights'),
        (
            {'search.halving': [2, 4], 'search.finalists': 1},
            'search.halving: chooses among finalists; give',
        ),
        ({'search.method': 'short-trainings', 'search.finalists': 7}, 'search.finalists: 7: the last rung of .* has 6'),
    ],
)
def test_values_that_are_not_allowed_together(values, said):
    options = {**LEAST, **{path: Given(path, value) for path, value in values.items()}}
    with pytest.raises(ConfigurationError, match=said):
        Configuration.checked(None, options)


@pytest.mark.parametrize('value', [[], [0, 1], [2, 2], [4, 2], [1.0, 2], 'abc', [True, 2], 3])
def test_rungs_are_ascending_whole_numbers(value):
    assert epochs().problem(value) == 'must be ascending whole numbers, such as 2 4 8 ([2, 4, 8] in a file)'
    assert epochs().problem([1]) is epochs().problem((2, 4, 8)) is None
    assert epochs().from_words(['2', '4']) == [2, 4]


def test_problems_of_options_are_named_by_the_option():
    options = {**LEAST, 'seed': Given('--seed', 'one'), 'device': Given('--device', '')}
    assert problems(None, options) == [
        'options: 2 problems',
        '  --seed: one: must be a whole number, from 0 to 2**63 - 1',
        "  --device: '': must be auto, cpu, cuda, cuda:1 or mps",
    ]


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('budget: 50%\nbudget: 25%\n', r"search.yaml, line 2: 'budget' occurs twice"),
        ('model: [\n', r'search.yaml, line 2: '),
        ('', 'holds nothing; write fields'),
        ('- a\n', 'holds a list'),
        ('a: !!python/object:os.system {}\n', 'could not determine a constructor'),
    ],
)
def test_files_that_are_no_configuration(file, text, says):
    with pytest.raises(ConfigurationError, match=says):
        Configuration.checked(file(text), LEAST)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match='cannot be read.*check the path'):
        read_yaml(str(tmp_path / 'missing.yaml'))


def test_yaml_reads_numbers_as_python_does(file):
    found = read_yaml(file('bins: 1:32\nlr: 1e-3\nshare: .5\ncount: 10\nbudget: 50%\nnothing:\nyes: true\n'))
    assert found == {
        'bins': '1:32',
        'lr': 1e-3,
        'share': 0.5,
        'count': 10,
        'budget': '50%',
        'nothing': None,
        True: True,
    }
    assert [parse_value(text) for text in ('3', '0.5', 'true', 'null', '[1, 2]', 'a: [', 'word')] == [
        3, 0.5, True, None, [1, 2], 'a: [', 'word'
    ]  # fmt: skip


@settings(max_examples=25)
@given(
    budget=st.sampled_from(['50%', ['75%', '50%'], {'macs': '50%', 'params': '5M'}, 300000, '300M']),
    bins=st.sampled_from(['1:32', '2:64', 20]),
    lr=st.none() | st.floats(1e-6, 1),
    args=st.dictionaries(st.sampled_from(['width', 'depth']), st.integers() | st.booleans() | st.text(max_size=5)),
    layers=st.none() | st.lists(st.text('ab1*.:#-?!&%@{}[]\'"\\ é漢😀', min_size=1), min_size=1),
)
def test_written_as_yaml_it_is_the_same(tmp_path_factory, budget, bins, lr, args, layers):
    values = {'budget': budget, 'space.bins': bins, 'training.lr': lr, 'model.args': args, 'space.exclude': layers}
    made = Configuration.checked(None, {**LEAST, **{path: Given(path, value) for path, value in values.items()}})
    path = tmp_path_factory.getbasetemp() / 'written.yaml'
    path.write_text(made.to_yaml(), encoding='utf-8')
    assert dict(Configuration.checked(str(path), {})) == dict(made)
    assert dict(Configuration.from_nested(made.nested())) == dict(made)
    assert made.differences(made) == []


def test_differences_leave_out_what_changes_nothing():
    made = Configuration.checked(None, LEAST)
    other = made.with_values(seed=1, device='cpu', output='elsewhere', data__workers=2, search__population=5)
    assert made.differences(other) == ['search.population: null there, 5 now', 'seed: 0 there, 1 now']


def test_a_record_from_before_a_field_that_changes_nothing():
    made = Configuration.checked(None, LEAST)
    nested = made.nested()
    del nested['search']['memory']
    assert dict(Configuration.from_nested(nested)) == dict(made)
    del nested['search']['channel_sets_per_step']
    with pytest.raises(ConfigurationError, match=r'^search.channel_sets_per_step is missing$'):
        Configuration.from_nested(nested)


def test_a_record_of_another_version_is_refused():
    nested = to_yaml({'budget': '50%'})
    assert nested == 'budget: 50%\n'
    with pytest.raises(ConfigurationError, match=r'old: is not a field.*model.name is missing'):
        Configuration.from_nested({'old': 1})


@pytest.mark.parametrize(
    ('value', 'says'),
    [
        ('150%', '150% is more than the full network'),
        ('0%', 'must be above zero'),
        (0.5, "a share is written as a percentage, here '50%'"),
        (-3, '-3 is not a count'),
        ('half', "'half' is not a count"),
        (True, 'a count must be a number or a string'),
        ([], 'lists no budget'),
        (['50%', '50%'], 'has 50% twice'),
        ({'flops': '50%'}, "unknown key 'flops'; allowed keys are 'macs'"),
        ({'latency': 5}, "a time must be a string with a unit, such as '5ms', not 5"),
        ({'macs': '50%', 'batch': 1}, "'batch' belongs to a latency; add one"),
        ({'device': 'cpu'}, 'no limit given'),
        ({}, 'no limit given'),
        (None, 'a count must be a number'),
    ],
)
def test_bad_budgets(value, says):
    assert says in budgets().problem(value)


@pytest.mark.parametrize(
    ('words', 'value'),
    [
        (['50%'], '50%'),
        (['75%', '300M'], ['75%', '300M']),
        (['macs=50%', 'params=5M'], {'macs': '50%', 'params': '5M'}),
        (['latency=5ms', 'device=cpu', 'batch=1'], {'latency': '5ms', 'device': 'cpu', 'batch': 1}),
    ],
)
def test_budgets_as_words(words, value):
    kind = budgets()
    assert kind.from_words(words) == value
    assert kind.problem(value) is None
    assert "'macs=3M' is not a count" in kind.problem(kind.from_words(['50%', 'macs=3M']))


def test_every_field_has_a_help_and_its_default_is_allowed():
    made = Configuration.checked(None, LEAST)
    for field in FIELDS:
        assert field.help
        value = made[field.path]
        assert value is None or field.kind.problem(value) is None, field.path
        assert field.fresh is None or field.kind.problem(field.fresh) is None
    flags = [field.flag for field in FIELDS]
    assert len(set(flags)) == len(flags)


def test_a_knapsack_has_no_supernet_by_default():
    options = {**LEAST, 'search.method': Given('--method', 'knapsack')}
    assert Configuration.checked(None, options, trained=True)['training.epochs'] == 0
    asked = {**options, 'training.epochs': Given('--epochs', 2)}
    assert Configuration.checked(None, asked, trained=True)['training.epochs'] == 2
    with pytest.raises(ConfigurationError, match='training.importance: none: --method knapsack chooses widths by'):
        Configuration.checked(None, {**options, 'training.importance': Given('--importance', 'none')}, trained=True)
