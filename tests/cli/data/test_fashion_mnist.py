"""Fashion-MNIST's files, made here in its format: what is read, and what is said where they are wrong."""

import gzip

import numpy as np
import pytest
import torch

from nni_cafenet.cli.data import DataRequest, load_data
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.errors import DataError
from nni_cafenet.testing import items as source

COUNTS = {'train': 12, 't10k': 5}


def write_part(folder, part, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(part))
    count = COUNTS[part]
    pictures = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    sizes = b''.join(size.to_bytes(4, 'big') for size in (count, 28, 28))
    files = {
        f'{part}-images-idx3-ubyte': (2051).to_bytes(4, 'big') + sizes + pictures.tobytes(),
        f'{part}-labels-idx1-ubyte': (2049).to_bytes(4, 'big') + sizes[:4] + labels.tobytes(),
    }
    for name, content in files.items():
        path = folder / (f'{name}.gz' if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return pictures, labels


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(source, '_COUNTS', COUNTS)


@pytest.mark.parametrize('packed', [True, False])
@pytest.mark.parametrize('below', ['', 'raw', 'FashionMNIST/raw'])
def test_reads_the_files_of_debian_and_of_torchvision(tmp_path, few, packed, below):
    written = {part: write_part(tmp_path / below, part, packed) for part in COUNTS}
    for split, part in (('train', 'train'), ('test', 't10k')):
        pictures, labels = source.read_fashion_mnist(tmp_path, split)
        np.testing.assert_array_equal(pictures, written[part][0])
        np.testing.assert_array_equal(labels, written[part][1])
        assert labels.dtype == np.int64


@pytest.mark.parametrize('shape', [(1, 28, 28), (1, 14, 14), (3, 32, 32)])
def test_loaders_give_the_size_that_is_asked_for(tmp_path, few, shape):
    for part in COUNTS:
        write_part(tmp_path, part)
    data = load_data(DataRequest(f'fashion-mnist:{tmp_path}', Pixels.of(shape), exact=True, batch_size=4))
    images, labels = next(iter(data.train))
    assert images.shape == (4, *shape)
    assert images.dtype == torch.float32
    assert data.shape == shape
    assert len(data.classes) == 10
    assert len(data.validate.dataset) == 5


def test_half_the_size_is_the_mean_of_four_pixels(tmp_path, few):
    for part in COUNTS:
        pictures, _ = write_part(tmp_path, part)
    data = load_data(DataRequest(f'fashion-mnist:{tmp_path}', Pixels.of((1, 14, 14)), exact=True))
    first = data.validate.dataset.tensors[0][0, 0]
    mean = pictures[0].reshape(14, 2, 14, 2).mean((1, 3)) / 255
    np.testing.assert_allclose(first.numpy(), (mean - 0.2860) / 0.3530, atol=1e-6)


def test_a_folder_without_the_files_is_named_with_the_way_to_get_them(tmp_path):
    with pytest.raises(DataError, match='apt-get install dataset-fashion-mnist') as error:
        load_data(DataRequest(f'fashion-mnist:{tmp_path}'))
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize('damage', [lambda content: content[:-9], lambda content: b'x' + content[1:], lambda _: b''])
@pytest.mark.parametrize('packed', [True, False])
def test_a_damaged_file_is_named(tmp_path, few, damage, packed):
    for part in COUNTS:
        write_part(tmp_path, part, packed)
    path = tmp_path / f'train-images-idx3-ubyte{".gz" if packed else ""}'
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match='train-images-idx3-ubyte'):
        load_data(DataRequest(f'fashion-mnist:{tmp_path}'))


def test_a_missing_file_is_named(tmp_path, few):
    write_part(tmp_path, 'train')
    with pytest.raises(DataError, match='t10k-images-idx3-ubyte'):
        load_data(DataRequest(f'fashion-mnist:{tmp_path}'))
