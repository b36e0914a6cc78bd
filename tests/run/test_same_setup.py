from __future__ import annotations

import json

import nni
import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from torch.utils.data import TensorDataset

from nni_cafenet import EqualBins, WidthMutator, traced
from nni_cafenet.errors import ResumeError
from nni_cafenet.run.options import FinalistOptions, RunOptions
from nni_cafenet.run.same_setup import same_setup
from nni_cafenet.run.setup import RunSetup
from nni_cafenet.testing import SmallResNet


@traced
def data(number, noise=0.0):
    return TensorDataset(torch.randn(number, 1, 8, 8), torch.zeros(number, dtype=torch.long))


class Scale:
    """A transform that is sent pickled."""

    def __init__(self, factor):
        self.factor = factor


@traced
def scaled(number, scale, kind=torch.float32, size=(8, 8)):
    return TensorDataset(scale.factor * torch.randn(number, 1, *size), torch.zeros(number, dtype=torch.long))


def dump(dataset=None, *, width=4, epochs=2, rate=0.1, batch=8, evaluator=True):
    space = WidthMutator(bins=EqualBins(4), verify=False).mutate(
        SmallResNet, num_classes=3, width=width, example_input=(1, 1, 8, 8)
    )
    loader = DataLoader(data(40) if dataset is None else dataset, batch_size=batch, shuffle=True)
    make = lambda: Classification(  # noqa: E731
        num_classes=3, learning_rate=rate, train_dataloaders=loader, max_epochs=epochs, logger=False
    )
    options = RunOptions.checked(
        sharing=None,
        patterns=2,
        score='loss',
        higher_is_better=None,
        score_patterns=None,
        holdout=0.1,
        score_data=None,
        statistics_batches=2,
        seed=0,
    )
    finalists = FinalistOptions.checked(number=0, weights='fresh', metric=None, higher_is_better=None)
    return RunSetup(space, make(), options, finalists, None if evaluator else make()).dump()


@pytest.mark.parametrize(
    ('now', 'says'),
    [
        (lambda: dump(epochs=3), 'evaluator.max_epochs: 2 there, 3 now'),
        (lambda: dump(rate=0.2), 'evaluator.learning_rate: 0.1 there, 0.2 now'),
        (lambda: dump(batch=16), 'evaluator.train_dataloaders.batch_size: 8 there, 16 now'),
        (lambda: dump(data(50)), 'evaluator.train_dataloaders.dataset.number: 40 there, 50 now'),
        (lambda: dump(data(40, noise=0.5)), 'evaluator.train_dataloaders.dataset.noise: null there, 0.5 now'),
        (lambda: dump(width=8), 'space.width: 4 there, 8 now'),
        (lambda: dump(evaluator=False), 'finalist_evaluator: null there, '),
        (lambda: dump(scaled(40, Scale(2))), 'evaluator.train_dataloaders.dataset'),
    ],
    ids=['epochs', 'rate', 'batch', 'data', 'argument', 'model', 'evaluator', 'function'],
)
def test_another_run_is_refused_and_what_differs_is_named(now, says):
    there = dump()
    with pytest.raises(ResumeError) as error:
        same_setup(there, now(), '/run')
    said = str(error.value)
    assert says in said
    assert said.startswith("directory='/run' holds another run (")
    assert 'another directory' in said
    assert len(said) < 800


def test_several_differences():
    with pytest.raises(ResumeError, match=r'batch_size: 8 there, 9 now; .*max_epochs: 2 there, 3 now'):
        same_setup(dump(), dump(epochs=3, batch=9), '/run')


def test_the_same_run_goes_on_with_the_random_numbers_that_its_data_were_made_with():
    torch.manual_seed(1)
    there = dump()
    torch.manual_seed(2)
    now = dump()
    made = [nni.load(text)['evaluator'].train_dataloaders.dataset.tensors[0] for text in (there, now)]
    assert not torch.equal(*made)
    again = nni.load(same_setup(there, now, '/run'))['evaluator'].train_dataloaders.dataset.tensors[0]
    assert torch.equal(again, made[0])


def test_parts_of_what_a_function_returned():
    from torch.utils.data import random_split

    def split():
        return dump(traced(random_split)(data(40), [30, 10])[0])

    torch.manual_seed(1)
    there = split()
    torch.manual_seed(2)
    now = split()
    indices = [nni.load(text)['evaluator'].train_dataloaders.dataset.indices for text in (there, now)]
    assert indices[0] != indices[1]
    assert nni.load(same_setup(there, now, '/run'))['evaluator'].train_dataloaders.dataset.indices == indices[0]


def test_pickled_objects_are_taken_as_they_are_now():
    there, now = dump(scaled(40, Scale(2))), dump(scaled(40, Scale(3)))
    assert there != now
    dataset = nni.load(same_setup(there, now, '/run'))['evaluator'].train_dataloaders.dataset
    assert dataset.trace_kwargs['scale'].value.factor == 3


@pytest.mark.parametrize(
    ('name', 'before', 'after'), [('kind', torch.float16, torch.float64), ('size', (8, 8), (8, 9))]
)
def test_pickled_data_are_compared(name, before, after):
    there, now = (dump(scaled(40, Scale(2), **{name: value})) for value in (before, after))
    with pytest.raises(ResumeError, match=rf'dataset\.{name}: ') as error:
        same_setup(there, now, '/run')
    assert f'{before!r} there, {after!r} now' in str(error.value)


def test_what_cannot_be_unpickled_any_more_is_not_compared():
    there, now = dump(scaled(40, Scale(2))), json.loads(dump(scaled(40, Scale(3))))
    broken = json.loads(there)
    broken['evaluator']['__kwargs__']['train_dataloaders']['__kwargs__']['dataset']['__kwargs__']['scale']['pickle'] = (
        'AA'
    )
    assert json.loads(same_setup(json.dumps(broken), json.dumps(now), '/run')) is not None


def test_the_code_of_a_script_may_change():
    there = {'model': 'bytes:AAAA', 'list': [1, {'a': 2}]}
    assert json.loads(same_setup(json.dumps(there), json.dumps({**there, 'model': 'bytes:BBBB'}), '/run'))[
        'model'
    ].endswith('BBBB')
    with pytest.raises(ResumeError, match=r'model: bytes:AAAA there, nets.Net now'):
        same_setup(json.dumps(there), json.dumps({**there, 'model': 'path:nets.Net'}), '/run')
    with pytest.raises(ResumeError, match=r'list\[1\].a: 2 there, 3 now'):
        same_setup(json.dumps(there), json.dumps({**there, 'list': [1, {'a': 3}]}), '/run')
    with pytest.raises(ResumeError, match='list: '):
        same_setup(json.dumps(there), json.dumps({**there, 'list': [1]}), '/run')
