"""Pictures in tar files: every form of shards, the same samples for the same seed, and what is wrong with them."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nni_cafenet.cli.data import DataRequest, absolute_source, load_data, missing_place
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.cli.data.shards import find_shards, split_shards
from nni_cafenet.errors import DataError
from nni_cafenet.supernet import TrainingData


def encoded(number: int, side: int = 20, form: str = 'PNG') -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side + 4, 3), number % 256, dtype=np.uint8)).save(file, form)
    return file.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def shard(path: Path, numbers, label=lambda number: number % 3) -> Path:
    members = {}
    for number in numbers:
        members[f'n/{number:05d}.png'] = encoded(number)
        members[f'n/{number:05d}.cls'] = f'{label(number)}\n'.encode()
        members[f'n/{number:05d}.txt'] = b'a caption'
    return write(path, members)


@pytest.fixture
def home(tmp_path):
    shard(tmp_path / 'train-000.tar', range(12))
    shard(tmp_path / 'train-001.tar', range(12, 24))
    shard(tmp_path / 'val-000.tar', range(24, 30))
    return tmp_path


def load(place, **options):
    return load_data(DataRequest(f'webdataset:{place}', Pixels.of((3, 20, 20)), batch_size=4, **options))


def first_values(dataset) -> list[int]:
    mean, std = 0.485, 0.229
    return [round(float(picture[0, 0, 0] * std + mean) * 255) for picture, _ in dataset]


def test_a_folder_with_training_and_validation(home):
    data = load(home)
    assert (data.shape, data.classes) == ((3, 20, 20), ('0', '1', '2'))
    assert (
        data.description == '24 pictures for training and 6 for validation in 3 shards, 3 classes, resized to 20 x 20'
    )
    assert first_values(data.validate.dataset) == list(range(24, 30))
    assert [label for _, label in data.validate.dataset] == [number % 3 for number in range(24, 30)]
    assert first_values(data.train.dataset.plain) == list(range(24))
    images, labels = next(iter(data.train))
    assert (images.shape, images.dtype, labels.dtype) == ((4, 3, 20, 20), torch.float32, torch.int64)


@pytest.mark.parametrize('pattern', ['train-{000..001}.tar', 'train-*.tar', 'train-00{0,1}.tar'])
def test_a_pattern_is_split_by_the_seed(home, pattern):
    data = load(home / pattern)
    assert 'split by the seed 0' in data.description
    parts = [set(first_values(part)) for part in (data.train.dataset.plain, data.validate.dataset)]
    assert [len(part) for part in parts] == [18, 6]
    assert parts[0] | parts[1] == set(range(24))
    assert first_values(load(home / pattern).validate.dataset) == first_values(data.validate.dataset)
    assert first_values(load(home / pattern, seed=1).validate.dataset) != first_values(data.validate.dataset)


def test_what_training_needs_of_a_data_set(home):
    data = load(home)
    split = TrainingData(data.train, holdout=0.25, seed=0)
    one, two = (torch.cat([images for images, _ in split.heldout]) for _ in range(2))
    assert torch.equal(one, two)  # scores are taken on pictures as they are
    copied = pickle.loads(pickle.dumps(data.validate.dataset))  # worker processes, trials
    assert torch.equal(copied[3][0], data.validate.dataset[3][0])
    assert next(iter(load(home, workers=1).validate))[0].shape[0] == 4
    assert len(load(home, fraction=0.5).train.dataset) == 24  # a part is never smaller than a batch
    gray = load_data(DataRequest(f'webdataset:{home}', Pixels.of((1, 8, 8)), exact=True))
    assert gray.validate.dataset[0][0].shape == (1, 8, 8)


def test_labels_in_json_and_pictures_of_other_forms(tmp_path):
    members = {}
    for number in range(6):
        members[f'{number}.img.JPG'] = encoded(number, form='JPEG')
        members[f'{number}.json'] = b'{"width": 3, "label": %d}' % (number % 2)
    members['._0.jpg'] = b'of another program'
    data = load(write(tmp_path / 'all.tar', members))
    assert len(data.train.dataset) + len(data.validate.dataset) == 6
    assert data.classes == ('0', '1')


@pytest.mark.parametrize(
    ('names', 'training', 'validation'),
    [
        (['a-train-0.tar', 'a-validation-0.tar', 'a-test-0.tar'], [0], [1]),
        (['train/0.tar', 'val/0.tar'], [0], [1]),
        (['train-0.tar', 'test-0.tar'], [0], [1]),
        (['interval-0.tar', 'contest-0.tar'], [0, 1], []),
        (['val-0.tar', 'val-1.tar'], [0, 1], []),
    ],
)
def test_parts_by_name(tmp_path, names, training, validation):
    shards = [tmp_path / 'val' / 'test' / name for name in names]  # the folder above plays no part
    assert split_shards(shards) == ([shards[each] for each in training], [shards[each] for each in validation])


def test_places(home, monkeypatch):
    assert missing_place(f'webdataset:{home}') == ''
    monkeypatch.chdir(home)
    assert absolute_source('webdataset:train-{000..001}.tar') == f'webdataset:{home}/train-{{000..001}}.tar'
    assert len(find_shards('*.tar')) == 3


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('place', 'says'),
    [
        ('nowhere', r'there is no shard .*nowhere; check the path'),
        ('train-{000..004}.tar', r'there is no shard .*train-002.tar and 2 more'),
        ('train-{5..1}.tar', r'\{5..1\} in .* must be ascending'),
        ('none-*.tar', r'there is no shard .*none-\*.tar'),
    ],
)
def test_shards_that_are_missing(home, place, says):
    assert 'shard' in missing_place(f'webdataset:{home / place}') or '5..1' in place
    with pytest.raises(DataError, match=says):
        load(home / place)


def test_folders_of_something_else(tmp_path):
    with pytest.raises(DataError, match=r'(?s)is empty. Shards are\n  .*train-000000.tar .*KEY.cls'):
        load(tmp_path)
    (tmp_path / 'train').mkdir()
    with pytest.raises(DataError, match=r'(?s)looks like imagefolder:.* Shards are\n'):
        load(tmp_path)
    (tmp_path / 'train-0.tar.gz').write_bytes(b'')
    with pytest.raises(DataError, match=r'has only compressed shards, such as train-0.tar.gz; unpack them'):
        load(tmp_path)


@pytest.mark.parametrize(
    ('members', 'says'),
    [
        ({}, r'is empty; a sample is files of one name: KEY.jpg with KEY.cls'),
        ({'a.npy': b'', 'a.cls': b'0'}, r"sample 'a' has .npy, .cls, but no picture"),
        ({'a.png': encoded(0), 'a.txt': b'a cat'}, r"sample 'a' has .png, .txt, but no label"),
        ({'a.png': encoded(0), 'a.cls': b'cat'}, r"a.cls holds 'cat' as a label, not a whole number"),
        ({'a.png': encoded(0), 'a.json': b'{"text": 1}'}, r"a.json has 'text', but no \"label\""),
        ({'a.png': encoded(0), 'a.json': b'{'}, r'a.json is not JSON'),
        ({'a.png': encoded(0), 'a.json': b'{"label": null}'}, r'a.json holds None as a label'),
    ],
)
def test_samples_that_are_wrong(tmp_path, members, says):
    with pytest.raises(DataError, match=says) as error:
        load(write(tmp_path / 'bad.tar', members))
    assert str(error.value).startswith("data 'webdataset:")


@pytest.mark.parametrize(
    ('label', 'says'),
    [
        (lambda number: -1, '4 of 4 labels are negative, such as -1'),
        (lambda number: 0, 'all labels are 0'),
        (lambda number: 90 * (number % 2), 'go up to 90 with 4 pictures'),
        (lambda number: number, 'one picture per class'),
    ],
)
def test_labels_that_are_wrong(tmp_path, label, says):
    with pytest.raises(DataError, match=says):
        load(shard(tmp_path / 'bad.tar', range(4), label))


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    members = {f'{number}.png': b'text' for number in range(4)}
    members |= {f'{number}.cls': b'%d' % (number % 2) for number in range(4)}
    with pytest.raises(DataError, match=r'the picture at byte [\d,]+ of .*bad.tar cannot be read'):
        load(write(tmp_path / 'bad.tar', members))


def test_files_that_are_damaged_or_compressed(home):
    path = home / 'train-000.tar'
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b'text' * 200):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r'train-000.tar is not a tar file, is compressed, or is damaged'):
            load(home)
    with tarfile.open(path, 'w:gz') as tar:
        tar.add(home / 'val-000.tar', 'a.cls')
    with pytest.raises(DataError, match=r'train-000.tar is not a tar file, is compressed, or is damaged'):
        load(home)


def test_a_shard_that_goes_bad_later_is_named(home):
    data = load(home)
    (home / 'train-001.tar').write_bytes(b'')
    with pytest.raises(DataError, match='train-001.tar has become shorter'):
        data.train.dataset[20]
