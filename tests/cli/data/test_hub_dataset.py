"""Data sets of Hugging Face from folders: splits and columns found, and what is said where they are not clear."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image

from nni_cafenet.cli.data import DataRequest, absolute_source, check_form, load_data, missing_place
from nni_cafenet.cli.data.hub_name import HubName
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.errors import DataError, MissingExtraError
from nni_cafenet.supernet import TrainingData

datasets = pytest.importorskip('datasets')


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


CLASSES = datasets.ClassLabel(names=['cat', 'dog', 'emu'])
PICTURES = datasets.Image()


def split(count, *, start=0, label=CLASSES, image=PICTURES, labels=None, names=('image', 'label'), **more):
    pictures = [Image.fromarray(np.full((20, 24, 3), number, dtype=np.uint8)) for number in range(start, start + count)]
    columns = {names[0]: pictures, names[1]: labels or [number % 3 for number in range(count)]}
    features = {names[0]: image, names[1]: label}
    for name, kind in more.items():
        columns[name], features[name] = [0] * count, kind
    return datasets.Dataset.from_dict(columns, datasets.Features(features))


def saved(folder, **parts):
    datasets.DatasetDict(parts).save_to_disk(str(folder))
    return folder


def load(place, **options):
    return load_data(DataRequest(f'datasets:{place}', Pixels.of((3, 20, 20)), batch_size=4, **options))


def first_values(dataset) -> list[int]:
    return [round(float(picture[0, 0, 0] * 0.229 + 0.485) * 255) for picture, _ in dataset]


def test_splits_and_columns_are_found(tmp_path):
    folder = saved(tmp_path / 'data', train=split(24), validation=split(6, start=24), test=split(6, start=40))
    data = load(folder)
    assert (data.shape, data.classes) == ((3, 20, 20), ('cat', 'dog', 'emu'))
    assert data.description == (
        '24 pictures for training and 6 for validation (splits train and validation), 3 classes, resized to 20 x 20'
    )
    assert first_values(data.validate.dataset) == list(range(24, 30))
    assert [label for _, label in data.validate.dataset] == [0, 1, 2] * 2
    heldout = TrainingData(data.train, holdout=0.25, seed=0).heldout
    assert torch.equal(*(torch.cat([images for images, _ in heldout]) for _ in range(2)))
    assert next(iter(load(folder, workers=1).train))[0].shape == (4, 3, 20, 20)


def test_a_single_split_is_cut_by_the_seed(tmp_path):
    split(24).save_to_disk(str(tmp_path / 'data'))
    data = load(tmp_path / 'data')
    assert 'split by the seed 0' in data.description
    parts = [set(first_values(part)) for part in (data.train.dataset.plain, data.validate.dataset)]
    assert [len(part) for part in parts] == [18, 6]
    assert parts[0] | parts[1] == set(range(24))
    assert [label for _, label in data.validate.dataset].count(1) == 2


def test_a_folder_of_parquet_files(tmp_path):
    (tmp_path / 'data').mkdir()
    split(12).to_parquet(str(tmp_path / 'data' / 'train-00000.parquet'))
    split(6, start=12).to_parquet(str(tmp_path / 'data' / 'test-00000.parquet'))
    data = load(tmp_path / 'data')
    assert 'splits train and test' in data.description
    assert data.classes == ('cat', 'dog', 'emu')


@pytest.mark.parametrize(
    ('label', 'labels', 'classes'),
    [
        (datasets.Value('int64'), [0, 1, 2, 3] * 3, ('0', '1', '2', '3')),
        (datasets.Value('string'), ['dog', 'cat', 'emu'] * 4, ('cat', 'dog', 'emu')),
    ],
)
def test_labels_without_names_of_classes(tmp_path, label, labels, classes):
    parts = {name: split(12, label=label, labels=labels) for name in ('train', 'test')}
    data = load(saved(tmp_path / 'data', **parts))
    assert data.classes == classes
    expected = labels if isinstance(labels[0], int) else [classes.index(name) for name in labels]
    assert [number for _, number in data.validate.dataset] == expected


def test_columns_are_named(tmp_path):
    folder = saved(tmp_path / 'data', train=split(24, names=('img', 'fine'), coarse=CLASSES))
    with pytest.raises(
        DataError, match=r'several columns that may be the label: img .*; name one: datasets:.*,label=fine'
    ):
        load(folder)
    data = load(f'{folder},label=fine')
    assert [number for _, number in data.train.dataset.plain][:4] != [0] * 4
    with pytest.raises(DataError, match='all labels are 0'):
        load(f'{folder},label=coarse,image=img')


def test_places(tmp_path, monkeypatch):
    folder = saved(tmp_path / 'data', train=split(6))
    monkeypatch.chdir(tmp_path)
    assert absolute_source('datasets:data,label=a') == f'datasets:{folder},label=a'
    assert absolute_source('datasets:owner/name') == 'datasets:owner/name'
    assert missing_place('datasets:data') == ''
    assert HubName.of('a/b,config=c') == HubName('a/b', 'c')
    check_form('datasets:a/b,config=c')
    with pytest.raises(DataError, match=r"'lable=x' is no option; did you mean label=x\? allowed: config=NAME"):
        check_form('datasets:a/b,lable=x')


# --- what is wrong --------------------------------------------------------------------------------


def test_a_missing_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert missing_place('datasets:a').endswith("not installed here: pip install 'nni-cafenet[datasets]'")
    with pytest.raises(MissingExtraError, match='nni-cafenet.datasets'):
        load('a')


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(
        DataError, match=r"(?s)data 'datasets:no/such,.*it cannot be loaded .*name a folder that save_to_disk"
    ):
        load('no/such,config=x')
    (tmp_path / 'wrong' / 'cifar-10-batches-py').mkdir(parents=True)
    with pytest.raises(DataError, match=r'It looks like cifar10:'):
        load(tmp_path / 'wrong')
    (tmp_path / 'a.txt').write_text('text')
    with pytest.raises(DataError, match=r'no column of the type Image: text \(string\); name one'):
        load(tmp_path)


@pytest.mark.parametrize(
    ('parts', 'says'),
    [
        ({'one': split(6), 'two': split(6)}, 'has the splits one, two, but no train'),
        ({'train': split(3)}, 'one picture per class'),
        ({'train': split(6, names=('image', 'kind'), label=datasets.Value('int64'))}, r'words named label, .*kind'),
        ({'train': split(6), 'test': split(6, labels=[-1] * 6)}, '6 of 6 labels are negative, such as -1'),
        ({'train': split(6), 'validation': split(6, names=('picture', 'label'))}, 'image=image: there is no such column'),
    ],
)  # fmt: skip
def test_data_sets_that_are_wrong(tmp_path, parts, says):
    with pytest.raises(DataError, match=says):
        load(saved(tmp_path / 'data', **parts))


def test_options_that_are_wrong(tmp_path):
    folder = saved(tmp_path / 'data', train=split(6))
    for options, says in (
        ('label=kind', r'label=kind: there is no such column; it has image \(.*\), label \(int64\)'),
        ('image=label', 'image=label: holds no pictures'),
        ('label=image', 'label=image: holds neither numbers nor words'),
    ):
        with pytest.raises(DataError, match=says):
            load(f'{folder},{options}')


def test_rows_that_are_wrong(tmp_path):
    table = split(12)
    broken = datasets.Dataset.from_dict(
        {'image': [{'bytes': b'text', 'path': None}] * 12, 'label': table['label']}, table.features
    )
    with pytest.raises(DataError, match=r'the picture of row \d+ cannot be read'):
        load(saved(tmp_path / 'one', train=broken))
    empty = datasets.Dataset.from_dict({'image': [None] * 12, 'label': table['label']}, table.features)
    with pytest.raises(DataError, match=r"row \d+ has no picture in 'image'"):
        load(saved(tmp_path / 'two', train=empty))
    missing = datasets.Dataset.from_dict({'image': table['image'], 'label': [None, 1] * 6}, table.features)
    with pytest.raises(DataError, match='label: 6 of 12 labels are missing'):
        load(saved(tmp_path / 'three', train=missing))
