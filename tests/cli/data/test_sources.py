"""Sources of data by name: digits, CIFAR-10, loaders of the user's."""

from __future__ import annotations

import sys

import pytest
import torch

from nni_cafenet.cli.data import DataRequest, check_form, check_outputs, load_data
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.errors import DataError

CODE = """\
import torch
from torch.utils.data import DataLoader, TensorDataset


def data(size, labels=(0, 1, 2)):
    return TensorDataset(torch.randn(size, 1, 4, 4), torch.tensor([labels[i % len(labels)] for i in range(size)]))


def loaders(batch_size, seed=0):
    return DataLoader(data(9), batch_size, shuffle=True), DataLoader(data(4), batch_size)


def anything(**options):
    loader = DataLoader(data(options['batch_size']), 2)
    loader.options = options
    return loader


def needy(place, seed):
    return None


def dictionaries():
    return DataLoader([{'x': 1}], 1)


def triples():
    return DataLoader([(1, 2, 3)], 1)


def empty():
    return DataLoader(data(2), 4, drop_last=True)


def far():
    return DataLoader(data(4, (5, 7)), 4)


def nested():
    return DataLoader([({'image': 1.0}, 1.0)], 1)


def broken():
    raise KeyError('no such table')


def numbers():
    return 3


word = 'a word'
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (tmp_path / 'my_data.py').write_text(CODE)
    yield tmp_path
    sys.modules.pop('my_data', None)


@pytest.mark.parametrize(
    'source',
    [
        'digits',
        'imagefolder:photos',
        'cifar10:/data/cifar',
        'cifar100:/data',
        'celeba:/data',
        'coco:/data',
        'fashion-mnist',
        'fashion-mnist:/data',
        'my_data:loaders',
        'a/my_data.py:loaders',
        'a.b:c',
    ],
)
def test_forms(source):
    check_form(source)


@pytest.mark.parametrize(
    ('source', 'says'),
    [
        ('digit', "is not a source; did you mean 'digits'\\? allowed: digits, imagefolder:DIR, cifar10:DIR"),
        ('imagefolder', "did you mean 'imagefolder'"),
        ('imagefolder:', 'names no folder; write imagefolder:DIR'),
        ('fashion-mnist:', 'names no folder; write fashion-mnist:DIR'),
        ('fashion_mnist', "did you mean 'fashion-mnist'"),
        ('./photos', 'is not a source; allowed'),
        ('', 'is not a source'),
        ('a b:c', 'is not a source'),
    ],
)
def test_words_of_no_form(source, says):
    with pytest.raises(DataError, match=says):
        check_form(source)


def test_digits():
    data = load_data(DataRequest('digits', batch_size=100))
    assert (data.shape, data.classes) == ((1, 8, 8), tuple('0123456789'))
    assert [len(loader.dataset) for loader in (data.train, data.validate)] == [1197, 600]
    orders = [torch.cat([labels for _, labels in load_data(DataRequest('digits', seed=s)).train]) for s in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    with pytest.raises(DataError, match=r'of shape \(1, 8, 8\), but --input says \(3, 32, 32\); omit --input'):
        load_data(DataRequest('digits', Pixels.of((3, 32, 32)), exact=True))
    load_data(DataRequest('digits', Pixels.of((3, 32, 32))))


@pytest.mark.parametrize('place', ['my_data', 'my_data.py'])
def test_a_function_gets_what_it_takes(code, place):
    data = load_data(DataRequest(f'{place}:loaders', batch_size=5))
    assert (data.train.batch_size, len(data.validate.dataset)) == (5, 4)
    assert (data.shape, data.labels, data.classes) == ((1, 4, 4), (0, 1, 2), None)
    assert data.description == '9 samples for training, validation data beside them'
    alone = load_data(DataRequest(f'{place}:anything', batch_size=6, workers=1, seed=4))
    assert alone.train.options == {'batch_size': 6, 'workers': 1, 'seed': 4}
    assert alone.validate is None


def test_inputs_without_a_shape(code):
    assert load_data(DataRequest('my_data:nested')).shape is None


def test_labels_beyond_the_outputs(code):
    data = load_data(DataRequest('my_data:far'))
    check_outputs(data, 8, 'my_data:far', 'net')
    with pytest.raises(DataError, match=r"labels from 5 to 7 in its first batch, but the model 'net' has 6 outputs"):
        check_outputs(data, 6, 'my_data:far', 'net')


@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('loader', "has no 'loader'; did you mean 'loaders'"),
        ('word', 'is a str; name a function that returns loaders'),
        (
            'needy',
            r'needs arguments \(place\); name a function that needs none, or only some of batch_size, workers, seed',
        ),
        ('numbers', 'returned int; it must return a torch.utils.data.DataLoader'),
        ('broken', r"calling it raised KeyError: 'no such table' \(.*my_data.py, line \d+\)"),
        ('dictionaries', r'its batches are a dict; a batch must be \(inputs, targets\)'),
        ('triples', 'its batches are a list of 3'),
        ('empty', 'its training loader yields no batch; give it more samples, or drop_last=False'),
    ],
)
def test_functions_that_make_no_data(code, name, says):
    with pytest.raises(DataError, match=says) as error:
        load_data(DataRequest(f'my_data:{name}'))
    assert str(error.value).startswith(f"data 'my_data:{name}': ")


def test_a_module_that_is_not_there(code):
    with pytest.raises(DataError, match="data 'my_datta:loaders': there is no module 'my_datta'; install it, or run"):
        load_data(DataRequest('my_datta:loaders'))
