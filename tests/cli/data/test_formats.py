"""Data sets in their real formats, small ones, and folders of another format."""

from __future__ import annotations

import pickle
import re
import shutil

import pytest
import torch
from torch.utils.data import Subset

from nni_cafenet import TrainingRecipe
from nni_cafenet.cli.data import DataRequest, load_data
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.errors import DataError
from nni_cafenet.supernet import TrainingData
from nni_cafenet.testing import read_items, write_celeba, write_cifar, write_imagenet


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('miniatures')
    items = read_items('digits')
    write_imagenet(home / 'imagenet', items, classes=3, train=6, val=3, size=96)
    write_cifar(home / 'cifar10', items, train=50, test=20)
    write_cifar(home / 'cifar100', items, 'cifar100', train=100, test=100)
    write_celeba(home / 'celeba', items, train=21, valid=6, test=3)
    for name in ('shards/train-0.tar', 'hub/dataset_dict.json'):
        (home / name).parent.mkdir()
        (home / name).touch()
    return home


def first(loader):
    return next(iter(loader))


@pytest.mark.parametrize(('kind', 'classes', 'sizes'), [('cifar10', 10, (50, 20)), ('cifar100', 100, (100, 100))])
def test_cifar(home, kind, classes, sizes):
    data = load_data(DataRequest(f'{kind}:{home / kind}', batch_size=10))
    assert (data.shape, len(data.classes), data.loss) == ((3, 32, 32), classes, None)
    assert tuple(len(loader.dataset) for loader in (data.train, data.validate)) == sizes
    images, labels = first(data.train)
    assert (images.shape, images.dtype, labels.dtype) == ((10, 3, 32, 32), torch.float32, torch.int64)
    large = load_data(DataRequest(f'{kind}:{home / kind}', Pixels.of((3, 48, 40)), exact=True))
    assert [first(loader)[0].shape[1:] for loader in (large.train, large.validate)] == [(3, 48, 40)] * 2


def test_celeba(home):
    data = load_data(DataRequest(f'celeba:{home / "celeba"}', batch_size=5))
    assert (data.shape, len(data.classes), data.loss) == ((3, 178, 178), 40, 'bce')
    assert tuple(len(loader.dataset) for loader in (data.train, data.validate)) == (21, 6)
    images, targets = first(data.validate)
    assert (images.shape, targets.shape, targets.dtype) == ((5, 3, 178, 178), (5, 40), torch.float32)
    assert set(targets.unique().tolist()) == {0, 1}
    assert targets[:, :10].sum(1).tolist() == [1] * 5  # exactly one digit above
    small = load_data(DataRequest(f'celeba:{home / "celeba" / "celeba"}', Pixels.of((3, 64, 64)), exact=True))
    assert first(small.train)[0].shape[1:] == (3, 64, 64)


def test_the_size_is_that_of_the_pictures_unless_weights_say_otherwise(home):
    source = f'imagefolder:{home / "imagenet"}'
    data = load_data(DataRequest(source, Pixels.of((3, 224, 224))))
    side = data.shape[1]
    assert 96 <= side <= 144
    assert data.shape == (3, side, side)
    assert data.description.endswith(
        f'resized to {side} x {side} (the size of the pictures; the model was made for 224 x 224; --input gives another)'
    )
    assert first(data.train)[0].shape[1:] == data.shape
    assert load_data(DataRequest(source)).shape == data.shape  # the size of the model is unknown
    assert load_data(DataRequest(source, Pixels.of((3, 224, 224)), trained=True)).shape == (3, 224, 224)
    assert load_data(DataRequest(source, Pixels.of((3, 224, 224)), exact=True)).shape == (3, 224, 224)
    assert load_data(DataRequest(source, Pixels.of((3, 64, 64)))).shape == (3, 64, 64)  # pictures are larger


def test_enlarged_pictures_are_told(home):
    source = f'imagefolder:{home / "imagenet"}'
    told = r'resized to 224 x 224 \(enlarged from \d+ x \d+, \d\.\d times the MACs; --input 1 3 (\d+) \1\)$'
    for options in ({'exact': True}, {'trained': True}):
        assert re.search(told, load_data(DataRequest(source, Pixels.of((3, 224, 224)), **options)).description)
    cifar = load_data(DataRequest(f'cifar10:{home / "cifar10"}', Pixels.of((3, 64, 64)), exact=True))
    assert cifar.description.endswith('64 x 64 (enlarged from 32 x 32, 4.0 times the MACs; --input 1 3 32 32)')
    same = load_data(DataRequest(f'cifar10:{home / "cifar10"}', Pixels.of((3, 32, 32)), exact=True))
    assert same.description.endswith('32 x 32')


@pytest.mark.parametrize('name', ['imagenet', 'cifar10', 'celeba'])
def test_scores_are_taken_on_pictures_as_they_are(home, name):
    kind = 'imagefolder' if name == 'imagenet' else name
    data = load_data(DataRequest(f'{kind}:{home / name}', batch_size=4))
    split = TrainingData(data.train, holdout=0.25, seed=0)
    one, two = (torch.cat([images for images, _ in split.heldout]) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(data.train.dataset[0][0], data.train.dataset[0][0])


@pytest.mark.parametrize(
    'options',
    [{'randaugment': 9}, {'random_erasing': 1.0}, {'crop_scale': 0.08}, {'randaugment': 5, 'crop_scale': 0.2}],
)
@pytest.mark.parametrize('name', ['imagenet', 'cifar10'])
def test_the_recipe_varies_training_pictures(home, name, options):
    kind = 'imagefolder' if name == 'imagenet' else name
    made = [
        load_data(DataRequest(f'{kind}:{home / name}', recipe=recipe, batch_size=4))
        for recipe in (TrainingRecipe(), TrainingRecipe(**options))
    ]
    pictures = []
    for data in made:
        torch.manual_seed(0)
        pictures.append(torch.stack([data.train.dataset[index][0] for index in range(4)]))
    assert pictures[0].shape == pictures[1].shape
    assert not torch.equal(*pictures)
    assert torch.equal(*(data.validate.dataset[0][0] for data in made))
    if 'random_erasing' in options:
        assert ((pictures[1] == 0).flatten(1).sum(1) > 20).all()


def test_inputs_that_cannot_be_varied():
    with pytest.raises(
        DataError, match=r"data 'digits': training.randaugment varies pictures of imagefolder, .*omit it"
    ):
        load_data(DataRequest('digits', recipe=TrainingRecipe(randaugment=9)))


def test_a_fraction(home):
    data = load_data(DataRequest(f'cifar100:{home / "cifar100"}', fraction=0.8, batch_size=10))
    assert isinstance(data.train.dataset, Subset)
    assert [len(loader.dataset) for loader in (data.train, data.validate)] == [80, 80]
    again = load_data(DataRequest(f'cifar100:{home / "cifar100"}', fraction=0.8, batch_size=10))
    assert data.train.dataset.indices == again.train.dataset.indices
    assert torch.equal(data.train.dataset.plain[3][0], again.train.dataset.plain[3][0])
    least = load_data(DataRequest(f'cifar100:{home / "cifar100"}', fraction=0.001))
    assert len(least.train.dataset) == 64


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('source', 'says'),
    [
        ('cifar10:cifar100', r'does not contain CIFAR-10: it looks like cifar100:.* It needs\n  .*data_batch_1'),
        ('cifar100:imagenet', r'does not contain CIFAR-100: it looks like imagefolder:.*cifar-100-python/meta'),
        ('celeba:cifar10', r'does not contain CelebA: it looks like cifar10:.*\n  .*img_align_celeba/000001.jpg'),
        ('celeba:nothing', r'does not contain CelebA: it is empty. It needs'),
        ('cifar10:nowhere', r'does not contain CIFAR-10: it is not there'),
        ('imagefolder:celeba', r'It looks like celeba:.*A folder of pictures is\n  .*train/CLASS/PICTURE.jpg'),
        ('cifar10:', r'does not contain CIFAR-10: it looks like the folder above cifar10:.*/cifar10'),
        ('imagefolder:', r'It looks like the folder above imagefolder:.*/imagenet\.'),
        ('imagefolder:shards', r'It looks like webdataset:.*A folder of pictures is\n'),
        ('cifar10:hub', r'does not contain CIFAR-10: it looks like datasets:'),
        ('webdataset:celeba', r'looks like celeba:.* Shards are\n'),
        ('fashion-mnist:cifar10', r'does not contain Fashion-MNIST.*looks like cifar10:'),
        ('imagefolder:nothing', r'holds no pictures.*A folder of pictures is\n'),
    ],
)
def test_a_folder_of_another_data_set(home, tmp_path, source, says):
    kind, _, name = source.partition(':')
    folder = tmp_path if name == 'nothing' else home / name
    with pytest.raises(DataError, match=f'(?s){says}') as error:
        load_data(DataRequest(f'{kind}:{folder}'))
    assert str(error.value).startswith(f"data '{kind}:{folder}': ")


def test_pickles_that_would_run_code(home, tmp_path):
    shutil.copytree(home / 'cifar10', tmp_path / 'data')
    (tmp_path / 'data' / 'cifar-10-batches-py' / 'test_batch').write_bytes(pickle.dumps(shutil.rmtree))
    with pytest.raises(DataError, match=r'test_batch is damaged, or not a file of CIFAR-10 .it names shutil.rmtree'):
        load_data(DataRequest(f'cifar10:{tmp_path / "data"}'))


def test_a_truncated_batch(home, tmp_path):
    shutil.copytree(home / 'cifar10', tmp_path / 'data')
    batch = tmp_path / 'data' / 'cifar-10-batches-py' / 'data_batch_3'
    batch.write_bytes(batch.read_bytes()[:5000])
    with pytest.raises(DataError, match=r'data_batch_3 is damaged'):
        load_data(DataRequest(f'cifar10:{tmp_path / "data"}'))


def test_faces_that_are_missing(home, tmp_path):
    shutil.copytree(home / 'celeba', tmp_path / 'data')
    (tmp_path / 'data' / 'celeba' / 'img_align_celeba' / '000003.jpg').unlink()
    with pytest.raises(DataError, match=r'lacks 1 of the listed pictures, such as 000003.jpg'):
        load_data(DataRequest(f'celeba:{tmp_path / "data"}'))
