from __future__ import annotations

import json

import nni
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from torch.utils.data import TensorDataset

from nni_cafenet import EqualBins, WidthMutator, traced
from nni_cafenet.options import FinalistOptions
from nni_cafenet.stages.context import StageContext
from nni_cafenet.stages.first_seeds import restore_first_seeds
from nni_cafenet.stages.options import RunOptions
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
        channel_sets_per_step=2,
        score='loss',
        higher_is_better=None,
        channel_sets_per_score=None,
        holdout=0.1,
        score_data=None,
        statistics_batches=2,
        seed=0,
    )
    finalists = FinalistOptions(number=0, weights='fresh', metric=None, higher_is_better=None)
    return StageContext(space, make(), options, finalists, None if evaluator else make()).dump()


def test_the_same_run_goes_on_with_the_random_numbers_that_its_data_were_made_with():
    torch.manual_seed(1)
    there = dump()
    torch.manual_seed(2)
    now = dump()
    made = [nni.load(text)['evaluator'].train_dataloaders.dataset.tensors[0] for text in (there, now)]
    assert not torch.equal(*made)
    again = nni.load(restore_first_seeds(there, now))['evaluator'].train_dataloaders.dataset.tensors[0]
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
    assert nni.load(restore_first_seeds(there, now))['evaluator'].train_dataloaders.dataset.indices == indices[0]


def test_pickled_objects_are_taken_as_they_are_now():
    there, now = dump(scaled(40, Scale(2))), dump(scaled(40, Scale(3)))
    assert there != now
    dataset = nni.load(restore_first_seeds(there, now))['evaluator'].train_dataloaders.dataset
    assert dataset.trace_kwargs['scale'].value.factor == 3


def test_everything_else_is_as_it_is_now():
    there = {'model': 'bytes:AAAA', 'list': [1, {'a': 2}]}
    now = {'model': 'bytes:BBBB', 'list': [1], 'more': 2}
    assert json.loads(restore_first_seeds(json.dumps(there), json.dumps(now))) == now
