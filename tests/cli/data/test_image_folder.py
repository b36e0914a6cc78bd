"""Folders of pictures: found, cut, checked before anything long runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from nni_cafenet.cli.data import DataRequest, check_outputs, load_data
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.errors import DataError

PIXELS = Pixels.of((3, 12, 12))


def paint(folder: Path, count: int, suffix: str = '.png', size: int = 16) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new('RGB', (size, size + number), (10 * number, 100, 200)).save(folder / f'{number}{suffix}')


@pytest.fixture
def photos(tmp_path):
    """One folder of three classes, of 10, 5 and 2 pictures."""
    for name, count in {'cat': 10, 'dog': 5, 'emu': 2}.items():
        paint(tmp_path / name, count)
    return tmp_path


def load(folder, **options):
    return load_data(DataRequest(f'imagefolder:{folder}', PIXELS, **options))


def files(loader) -> list[str]:
    return [str(file) for file, _ in loader.dataset.samples]


def test_one_folder_is_cut_by_the_seed_class_by_class(photos):
    data = load(photos, batch_size=4)
    assert data.classes == ('cat', 'dog', 'emu')
    assert data.shape == (3, 12, 12)
    counts = [[label for _, label in loader.dataset.samples] for loader in (data.train, data.validate)]
    assert [[labels.count(each) for each in range(3)] for labels in counts] == [[8, 4, 1], [2, 1, 1]]
    assert len(set(files(data.train)) | set(files(data.validate))) == 17
    assert files(load(photos).validate) == files(data.validate)
    assert files(load(photos, seed=1).validate) != files(data.validate)
    assert data.description == (
        '13 pictures for training and 4 for validation (split by the seed 0), 3 classes, resized to 12 x 12'
    )


def test_batches_have_the_size_that_was_asked_for_and_training_is_varied(photos):
    data = load(photos, batch_size=4)
    images, labels = next(iter(data.train))
    assert (images.shape, images.dtype, labels.dtype) == ((4, 3, 12, 12), torch.float32, torch.int64)
    assert len(data.train) == 3  # of 13 pictures, the last one alone is left out
    assert len(data.validate) == 1
    (first, _), (again, _) = data.validate.dataset[0], data.validate.dataset[0]
    assert torch.equal(first, again)


def test_grey_and_oblong_pictures(photos):
    data = load_data(DataRequest(f'imagefolder:{photos}', Pixels.of((1, 8, 10))))
    assert [next(iter(loader))[0].shape[1:] for loader in (data.train, data.validate)] == [(1, 8, 10)] * 2
    with pytest.raises(ValueError, match='1 or 3 channels'):
        Pixels.of((4, 8, 8))


def test_workers_read_too(photos):
    assert next(iter(load(photos, workers=1).validate))[0].shape == (4, 3, 12, 12)


def test_train_and_val_are_taken_as_they_are(tmp_path):
    for part, count in {'train': 3, 'val': 2}.items():
        for name in ('a', 'b'):
            paint(tmp_path / part / name, count, '.JPG' if name == 'a' else '.png')
    data = load(tmp_path)
    assert [len(files(loader)) for loader in (data.train, data.validate)] == [6, 4]
    assert 'cut by' not in data.description


def test_folders_that_programs_keep_are_passed_over(photos):
    (photos / '.cache').mkdir()
    (photos / '__MACOSX').mkdir()
    (photos / 'cat' / '._0.png').write_bytes(b'no picture')
    (photos / 'cat' / 'notes.txt').write_text('a text')
    assert load(photos).classes == ('cat', 'dog', 'emu')


@pytest.mark.parametrize(
    ('spoil', 'says'),
    [
        (lambda folder: (folder / 'fox').mkdir(), r'no pictures in .*fox; a class has pictures'),
        (lambda folder: (folder / 'cat' / 'bad.png').write_bytes(b''), r'1 of 18 pictures.*\n  .*bad.png: is empty'),
        (lambda folder: (folder / 'cat' / 'bad.jpg').write_text('text'), r'bad.jpg: cannot identify image file'),
        (
            lambda folder: _cut(folder / 'cat' / '0.png'),
            r'1 of 17 pictures cannot be read; repair or remove them:\n.*0.png',
        ),
        (lambda folder: _cut(_jpeg(folder / 'cat' / 'big.jpg')), r'big.jpg: .*truncated'),
    ],
)
def test_what_cannot_be_read_is_named(photos, spoil, says):
    spoil(photos)
    with pytest.raises(DataError, match=says) as error:
        load(photos)
    assert str(error.value).startswith(f"data 'imagefolder:{photos}': ")


def test_a_jpeg_without_its_end_that_can_be_read_is_taken(photos):
    path = _jpeg(photos / 'cat' / 'open.jpg')
    path.write_bytes(path.read_bytes()[:-2] + b'\0' * 5000)
    assert len(files(load(photos).train)) + len(files(load(photos).validate)) == 18


def test_only_the_first_bad_files_are_listed(photos):
    for number in range(8):
        (photos / 'dog' / f'bad{number}.png').write_bytes(b'')
    with pytest.raises(DataError, match=r'8 of 25 pictures.*(\n.*){5}\n  and 3 more$'):
        load(photos)


@pytest.mark.skipif(hasattr(os, 'geteuid') and os.geteuid() == 0, reason='root may read everything')
def test_files_without_permission(photos):
    (photos / 'cat' / '0.png').chmod(0)
    with pytest.raises(DataError, match='0.png: .*Permission denied'):
        load(photos)


def test_a_file_that_goes_bad_later_is_named(photos):
    data = load(photos)
    Path(data.train.dataset.samples[0][0]).write_bytes(b'')
    with pytest.raises(DataError, match='the picture .* cannot be read'):
        data.train.dataset[0]


def test_classes_that_differ_are_listed(tmp_path):
    for place in ('train/a', 'train/b', 'train/c', 'val/a', 'val/b', 'val/d'):
        paint(tmp_path / place, 1)
    with pytest.raises(DataError, match=r'c is not in .*val, d is not in .*train; both need the same folders'):
        load(tmp_path)


def test_folders_without_classes(tmp_path):
    with pytest.raises(DataError, match='the folder .*missing is not there; check the path'):
        load(tmp_path / 'missing')
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match='the folder .*file is a file'):
        load(tmp_path / 'file')
    with pytest.raises(DataError, match='holds no pictures; put the pictures .* into a folder of their own'):
        load(tmp_path)
    Image.new('RGB', (4, 4)).save(tmp_path / 'loose.png')
    with pytest.raises(DataError, match='holds 1 pictures, but no folder of them'):
        load(tmp_path)
    paint(tmp_path / 'only', 2)
    with pytest.raises(DataError, match="has only one class, 'only'"):
        load(tmp_path)
    paint(tmp_path / 'second', 1)
    (tmp_path / 'only' / '1.png').unlink()
    with pytest.raises(DataError, match='one picture per class, so none is left for validation'):
        load(tmp_path)


def test_torchvisions_own_models_know_their_size():
    pixels = Pixels.for_model('torchvision.models:resnet18')
    assert (pixels.shape, pixels.resize) == ((3, 224, 224), 256)
    assert Pixels.for_model('resnet50').resize == 232
    assert pixels.resized(64, 64).resize == 73  # 64 * 256 / 224
    assert Pixels.for_model('fasterrcnn_resnet50_fpn') is None
    assert Pixels.for_model('net.py:small') is None


def test_a_model_must_have_an_output_a_class(photos):
    data = load(photos)
    check_outputs(data, 3, 'imagefolder:x', 'net')
    with pytest.raises(DataError, match="has 3 classes, but the model 'net' has 1000 outputs; give --classes 3"):
        check_outputs(data, 1000, 'imagefolder:x', 'net')


def _jpeg(path: Path) -> Path:
    Image.effect_noise((64, 64), 80).convert('RGB').save(path)
    return path


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
