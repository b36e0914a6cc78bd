from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from nni_cafenet.fingerprints import differences, evaluator_record, loader_record, model_record, record_of

sys.path.insert(0, str(Path(__file__).parent))
import recorded


def test_two_processes_record_the_same():
    found = []
    for seed in '17':
        environment = {**os.environ, 'PYTHONHASHSEED': seed, 'OMP_NUM_THREADS': '1'}
        environment['PYTHONPATH'] = os.pathsep.join([str(Path(__file__).parents[2]), environment.get('PYTHONPATH', '')])
        command = [sys.executable, '-W', 'ignore', str(Path(__file__).with_name('recorded.py'))]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found[0] == found[1]
    assert ' at 0x' not in found[0]
    assert json.loads(found[0])['nni']['learning_rate'] == 0.1


def test_parameters_are_no_part_of_a_record():
    torch.manual_seed(1)
    first = evaluator_record(recorded.users()), model_record(recorded.Net())
    torch.manual_seed(2)
    assert (evaluator_record(recorded.users()), model_record(recorded.Net())) == first


@pytest.mark.parametrize(
    ('now', 'path', 'values'),
    [
        (lambda: recorded.nnis(learning_rate=0.2), 'learning_rate', (0.1, 0.2)),
        (lambda: recorded.nnis(max_epochs=5), 'max_epochs', (2, 5)),
        (lambda: recorded.nnis(gradient_clip_val=1.0), 'gradient_clip_val', (None, 1.0)),
        (
            lambda: recorded.nnis(optimizer=torch.optim.SGD),
            'optimizer',
            ('torch.optim.adam.Adam', 'torch.optim.sgd.SGD'),
        ),
    ],
)
def test_settings_of_an_evaluator_are_named(now, path, values):
    assert list(differences(evaluator_record(recorded.nnis()), evaluator_record(now()))) == [(path, *values)]


def test_what_only_watches_does_not_count(tmp_path):
    first = evaluator_record(recorded.nnis())
    assert (
        evaluator_record(recorded.nnis(default_root_dir=str(tmp_path), enable_progress_bar=True, logger=True)) == first
    )


def record(body, **more):
    scope = {'__name__': 'script', **more}
    exec(f'def step(x):\n{body}', scope)
    return record_of(scope['step'])


@pytest.mark.parametrize(
    ('body', 'more', 'same'),
    [
        ('    return x * rate', {'rate': 0.1}, True),
        ('    "A docstring."\n\n    # and a comment\n    return x * rate', {'rate': 0.1}, True),
        ('    return x * rate', {'rate': 0.2}, False),
        ('    return x + rate', {'rate': 0.1}, False),
        ('    return [x * rate for _ in range(1)][0]', {'rate': 0.1}, False),
    ],
)
def test_code_counts_and_its_look_does_not(body, more, same):
    assert (record(body, **more) == record('    return x * rate', rate=0.1)) is same


def test_functions_that_code_calls_count():
    inner = [eval(f'lambda x: x * {number}', {'__name__': 'script'}) for number in (1, 2)]
    assert record('    return inner(x)', inner=inner[0]) != record('    return inner(x)', inner=inner[1])
    partials = [functools.partial(recorded.smooth, by=number) for number in (1, 2, 1)]
    assert record_of(partials[0]) != record_of(partials[1])
    assert record_of(partials[0]) == record_of(partials[2])


def test_counters_of_classes_do_not_count():
    class Counts:
        rate, calls = 0.1, 0

        def step(self):
            Counts.calls += 1

    before = record_of(Counts)
    Counts.calls = 7
    assert record_of(Counts) == before
    Counts.rate = 0.2
    assert record_of(Counts) != before


def loader(data, **options):
    return loader_record(DataLoader(data, batch_size=8, **options))


def test_samples_and_their_order_count():
    first = loader(recorded.tensors())
    assert loader(recorded.tensors()) == first
    assert loader(recorded.tensors(), num_workers=2, pin_memory=True) == first
    assert [path for path, *_ in differences(first, loader(recorded.tensors(seed=1)))] == ['samples']
    assert list(differences(first, loader(recorded.tensors(), shuffle=True))) == [('shuffle', False, True)]
    assert [path for path, *_ in differences(first, loader(recorded.tensors(50)))] == ['length', 'samples']
    parts = [loader(Subset(recorded.tensors(), range(start, 60, 2))) for start in (0, 1)]
    assert [path for path, *_ in differences(*parts)] == ['indices', 'samples']


def test_samples_that_are_random_on_access_raise_no_false_alarm(caplog):
    caplog.set_level('INFO')
    assert loader(recorded.Augmented(own=True)) == loader(recorded.Augmented(own=True))
    assert 'Samples of Augmented are random whenever they are read' in caplog.text
    assert loader(recorded.Augmented()) == loader(recorded.Augmented())  # torch's own generator is seeded
    assert loader(recorded.Augmented(factor=0.2)) != loader(recorded.Augmented())


def test_reading_samples_changes_nothing():
    data = recorded.Augmented()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    loader(data)
    assert data.read == 0
    assert torch.equal(torch.rand(2), expected)


def test_samples_that_cannot_be_read_are_left_to_the_training():
    class Broken(recorded.Augmented):
        def __getitem__(self, index):
            raise OSError('gone')

    assert 'samples' not in loader(Broken())
