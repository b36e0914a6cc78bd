"""Boxes in COCO's format: what is read, how pictures and boxes change together, and what is said of wrong folders."""

from __future__ import annotations

import importlib.util
import json
import pickle
import shutil

import pytest
import torch

from nni_cafenet import TrainingRecipe
from nni_cafenet.cli.data import DataRequest, load_data
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.errors import DataError, MissingExtraError
from nni_cafenet.supernet import TrainingData
from nni_cafenet.testing import compose_scenes, read_items, real_scenes, write_coco, write_imagenet

SIDE = 60


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('miniatures')
    splits = {
        f'{split}2017': real_scenes('test', 8, size=SIDE, seed=seed) for seed, split in enumerate(('train', 'val'))
    }
    write_coco(home / 'coco', splits, [f'class {number}' for number in range(10)])
    write_imagenet(home / 'imagenet', read_items('digits'), classes=2, train=2, val=2)
    return home


@pytest.fixture
def folder(home, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(home / 'coco', tmp_path / 'coco')
    return tmp_path / 'coco'


def change(folder, split, edit):
    path = folder / 'annotations' / f'instances_{split}2017.json'
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


def loaded(folder, **options):
    return load_data(DataRequest(f'coco:{folder}', **options))


def test_pictures_and_boxes(home):
    data = loaded(home / 'coco', batch_size=4)
    assert (data.shape, data.loss, list(data.metric)) == (None, 'model', ['map'])
    assert data.classes == ('__background__', *(f'class {number}' for number in range(10)))
    assert data.description.startswith('8 pictures of train2017 for training (')
    assert data.description.endswith(' boxes of 10 categories) and 8 of val2017 for validation')
    record = json.loads((home / 'coco' / 'annotations' / 'instances_val2017.json').read_text())
    pictures, targets = next(iter(data.validate))
    assert len(pictures) == len(targets) == 4
    for image, picture, target in zip(record['images'], pictures, targets):
        own = [each for each in record['annotations'] if each['image_id'] == image['id']]
        assert (picture.shape, picture.dtype, type(picture)) == ((3, SIDE, SIDE), torch.float32, torch.Tensor)
        assert 0 <= picture.min() < 0.2 < picture.max() <= 1
        boxes = torch.tensor([each['bbox'] for each in own], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        assert torch.equal(target['boxes'], boxes)
        assert target['labels'].tolist() == [each['category_id'] for each in own]
        assert (target['crowds'].shape, target['crowd_labels'].shape) == ((0, 4), (0,))


@pytest.mark.parametrize('inner', ['', 'annotations'])
def test_both_names_of_parts(home, tmp_path, inner):
    items = torch.full((3, 8, 8), 200, dtype=torch.uint8).numpy()
    splits = {split: compose_scenes(items, [0, 1, 2], 3, size=32) for split in ('train', 'val')}
    write_coco(tmp_path / 'd', splits, 'abc')
    (tmp_path / 'd' / 'images').mkdir()
    shutil.move(tmp_path / 'd' / 'val', tmp_path / 'd' / 'images' / 'val')
    assert len(loaded(tmp_path / 'd' / inner).validate.dataset) == 3


def test_gaps_between_ids_of_categories(folder):
    def sparse(record):
        for each in record['categories']:
            each['id'] = 3 * each['id']
        for each in record['annotations']:
            each['category_id'] = 3 * each['category_id']

    before = [target['labels'] for _, target in loaded(folder).validate.dataset]
    for split in ('train', 'val'):
        change(folder, split, sparse)
    data = loaded(folder)
    assert data.classes == ('__background__', *(f'class {number}' for number in range(10)))
    after = [target['labels'] for _, target in data.validate.dataset]
    assert all(torch.equal(one, other) for one, other in zip(before, after))
    trained = loaded(folder, trained=True)  # torchvision's weights have an output for each id of COCO
    assert trained.classes[:4] == ('__background__', 'N/A', 'N/A', 'class 0')
    assert len(trained.classes) == 31
    assert all(torch.equal(3 * one, target['labels']) for one, (_, target) in zip(before, trained.validate.dataset))


def test_pictures_without_boxes_crowds_and_boxes_without_an_area(folder):
    def edit(record):
        first, second, *_ = record['images']
        record['annotations'] = [each for each in record['annotations'] if each['image_id'] != first['id']]
        own = [each for each in record['annotations'] if each['image_id'] == second['id']]
        own[0]['iscrowd'] = 1
        record['annotations'].append({**own[0], 'bbox': [1, 1, 0, 5], 'iscrowd': 0})

    before = loaded(folder).train.dataset.plain[1][1]
    change(folder, 'train', edit)
    data = loaded(folder)
    assert '1 of them of crowds, 1 pictures without boxes, 1 boxes without an area left out' in data.description
    empty, with_crowd = (data.train.dataset.plain[index][1] for index in (0, 1))
    assert (empty['boxes'].shape, empty['labels'].shape) == ((0, 4), (0,))
    assert torch.equal(with_crowd['crowds'], before['boxes'][:1])
    assert torch.equal(with_crowd['boxes'], before['boxes'][1:])
    cropped = loaded(folder, recipe=TrainingRecipe(crop_scale=0.3)).train.dataset
    assert cropped[0][1]['boxes'].shape == (0, 4)


def test_boxes_follow_their_pictures(home):
    """An item is bright on a dim background, so a box is right if its sides touch bright pixels."""
    data = loaded(home / 'coco', recipe=TrainingRecipe(crop_scale=0.5))
    varied, plain = data.train.dataset, data.train.dataset.plain
    torch.manual_seed(0)
    sizes, flipped = set(), 0
    for index in [*range(8)] * 4:
        picture, target = varied[index]
        sizes.add(picture.shape[1:])
        whole, all_boxes = plain[index]
        assert len(target['boxes']) == len(target['labels']) <= len(all_boxes['boxes'])
        assert target['boxes'].min() >= 0
        assert (target['boxes'][:, 2] <= picture.shape[2]).all()
        if picture.shape == whole.shape and torch.equal(picture, whole.flip(2)):
            flipped += 1
            assert torch.equal(target['boxes'][:, 0], SIDE - all_boxes['boxes'][:, 2])
    assert flipped
    assert len(sizes) > 4


def test_large_pictures_are_shrunk_to_the_size_of_the_network(home):
    small = loaded(home / 'coco', pixels=Pixels.of((3, 30, 30)), exact=True)
    same = loaded(home / 'coco', pixels=Pixels.of((3, 96, 96)), exact=True)
    for (picture, target), (whole, boxes) in zip(small.validate.dataset, same.validate.dataset):
        assert (picture.shape, whole.shape) == ((3, 30, 30), (3, SIDE, SIDE))
        assert torch.allclose(2 * target['boxes'], boxes['boxes'])


def test_scores_are_taken_on_pictures_as_they_are(home):
    data = loaded(home / 'coco', batch_size=2)
    split = TrainingData(data.train, holdout=0.25, seed=0)
    one, two = ([picture for pictures, _ in split.heldout for picture in pictures] for _ in range(2))
    assert all(torch.equal(first, second) for first, second in zip(one, two))
    pickle.dumps(data.train.dataset)  # for worker processes


def test_a_fraction(home):
    data = loaded(home / 'coco', fraction=0.5)
    assert data.description.endswith('of which 8 and 8 are used')  # there are fewer than the fewest


# --- wrong folders --------------------------------------------------------------------------------


def test_another_data_set(home, tmp_path):
    with pytest.raises(DataError, match='does not contain COCO: it looks like imagefolder:') as error:
        loaded(home / 'imagenet')
    assert f'{home / "imagenet"}/annotations/instances_train2017.json' in str(error.value)
    with pytest.raises(DataError, match='it is empty. It needs\n'):
        loaded(tmp_path)
    with pytest.raises(DataError, match='does not contain CIFAR-10: it looks like coco:'):
        load_data(DataRequest(f'cifar10:{home / "coco"}'))


@pytest.mark.parametrize(
    ('missing', 'says'),
    [
        ('val2017', 'has instances_val2017.json, but no folder val2017 of its pictures'),
        ('annotations/instances_val2017.json', r'has annotations, but no instances_val\*.json in them'),
        ('train2017/000003.png', 'train2017 lacks 1 of the listed pictures, such as 000003.png'),
    ],
)
def test_missing_files(folder, missing, says):
    path = folder / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(DataError, match=says):
        loaded(folder)


@pytest.mark.parametrize(
    ('edit', 'says'),
    [
        (lambda record: record.pop('categories'), 'has no categories, so it holds no boxes of COCO'),
        (lambda record: record['images'].clear(), 'lists no pictures'),
        (lambda record: record['annotations'].clear(), 'has no boxes'),
        (lambda record: record['annotations'][0].pop('bbox'), 'an entry is incomplete .KeyError'),
        (lambda record: record['annotations'][0].update(bbox=[1, 2, 3]), 'an entry is incomplete .ValueError'),
        (lambda record: record['annotations'][0].update(bbox=[1, 2, float('nan'), 3]), 'numbers are not finite'),
        (lambda record: record['annotations'][0].update(image_id=99), 'has boxes of the picture 99'),
        (lambda record: record['annotations'][0].update(category_id=99), 'has boxes of the category 99'),
        (lambda record: record['images'][0].update(id=2), 'lists 1 pictures under the id of another one'),
        (lambda record: record['images'][0].update(file_name='000001.png'), 'lists 000001.png several times'),
        (lambda record: record['categories'][0].update(name='cat'), r'or under another name: 1 .class 0.'),
    ],
)
def test_damaged_annotations(folder, edit, says):
    change(folder, 'train', edit)
    with pytest.raises(DataError, match=f'instances_train2017.json.*{says}|{says}'):
        loaded(folder)


def test_a_truncated_file(folder):
    path = folder / 'annotations' / 'instances_val2017.json'
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match='instances_val2017.json: cannot be read'):
        loaded(folder)


def test_what_would_leave_boxes_behind(home):
    for name, value in (('randaugment', 9), ('random_erasing', 0.5)):
        with pytest.raises(DataError, match=f'training.{name} changes pictures without their boxes'):
            loaded(home / 'coco', recipe=TrainingRecipe(**{name: value}))


def test_without_the_extra(home, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *_: None if name == 'faster_coco_eval' else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'nni-cafenet\[detection\]'"):
        loaded(home / 'coco')
