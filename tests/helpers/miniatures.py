"""Small data sets in the real formats, drawn by a seed from real pictures: scikit-learn's digits and its two photographs.

``python tests/helpers/miniatures.py DIR`` writes all of them: DIR/imagenet, DIR/cifar10, DIR/coco and so on.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from nni_cafenet.testing import real_classes, real_scenes, write_coco

ATTRIBUTES = 40
_FACE = (178, 218)  # width, height of CelebA's pictures


@functools.cache
def _sources() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    pixels, labels = load_digits(return_X_y=True)
    return (pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels, load_sample_images().images


def scene(rng: np.random.Generator, digits: Sequence[int], size: tuple[int, int]) -> Image.Image:
    """A cut of a photograph with handwritten digits on it, side by side from the top; ``size`` is (width, height)."""
    pixels, labels, photographs = _sources()
    photograph = photographs[rng.integers(len(photographs))]
    top, left = (int(rng.integers(0, side - 120)) for side in photograph.shape[:2])
    picture = Image.fromarray(photograph[top : top + 120, left : left + 120]).resize(size)
    side = min(size[0], size[1] // len(digits)) * 3 // 4
    for row, digit in enumerate(digits):
        drawn = pixels[rng.choice(np.flatnonzero(labels == digit))]
        ink = Image.fromarray(drawn).resize((side, side), Image.Resampling.BICUBIC)
        color = tuple(int(part) for part in rng.integers(150, 256, 3))
        place = (size[0] - side) // 2, row * size[1] // len(digits) + side // 8
        picture.paste(Image.new('RGB', ink.size, color), place, ink)
    return picture


def imagenet(folder: Path, *, classes: int = 4, train: int = 12, val: int = 5, size: int = 96) -> Path:
    """Write ``train`` and ``val`` with JPEG files in a folder for each class, of sizes around ``size``."""
    rng = np.random.default_rng(0)
    for part, count in (('train', train), ('val', val)):
        for digit in range(classes):
            place = folder / part / f'n{digit:08d}'
            place.mkdir(parents=True)
            for number in range(count):
                sides = (size + int(rng.integers(0, 32)), size + int(rng.integers(0, 32)))
                scene(rng, [digit], sides).save(place / f'n{digit:08d}_{number}.JPEG', quality=90)
    return folder


def cifar(folder: Path, kind: str = 'cifar10', *, train: int = 200, test: int = 60) -> Path:
    """Write the pickled batches of CIFAR-10 or CIFAR-100, with fewer pictures."""
    rng = np.random.default_rng(0)
    labels, number = ('labels', 10) if kind == 'cifar10' else ('fine_labels', 100)
    home = folder / ('cifar-10-batches-py' if kind == 'cifar10' else 'cifar-100-python')
    home.mkdir(parents=True)

    def write(name: str, count: int) -> None:
        targets = [int(each) for each in rng.permutation(np.arange(count) % number)]
        digits = [[target] if number == 10 else [target // 10, target % 10] for target in targets]
        pictures = [np.asarray(scene(rng, each, (32, 32))) for each in digits]
        data = np.stack(pictures).transpose(0, 3, 1, 2).reshape(count, -1)
        (home / name).write_bytes(pickle.dumps({'data': data, labels: targets}, protocol=2))

    if kind == 'cifar10':
        for batch in range(1, 6):
            write(f'data_batch_{batch}', train // 5)
        write('test_batch', test)
        names = {'label_names': [f'digit {each}' for each in range(10)]}
        (home / 'batches.meta').write_bytes(pickle.dumps(names, protocol=2))
    else:
        write('train', train)
        write('test', test)
        names = {'fine_label_names': [f'number {each:02d}' for each in range(100)]}
        (home / 'meta').write_bytes(pickle.dumps(names, protocol=2))
    return folder


def celeba(folder: Path, *, pictures: int = 120) -> Path:
    """Write the files of CelebA: two digits in place of a face, and 40 facts about them in place of attributes."""
    rng = np.random.default_rng(0)
    home = folder / 'celeba'
    (home / 'img_align_celeba').mkdir(parents=True)
    names = [f'{number:06d}.jpg' for number in range(1, pictures + 1)]
    rows = []
    for name in names:
        upper, lower = (int(each) for each in rng.integers(0, 10, 2))
        scene(rng, [upper, lower], _FACE).save(home / 'img_align_celeba' / name, quality=90)
        facts = [*(upper == each for each in range(10)), *(lower == each for each in range(10))]
        facts += [upper > each for each in range(9)] + [lower > each for each in range(9)]
        facts += [upper > lower, upper == lower]
        rows.append([1 if fact else -1 for fact in facts])
    parts = [0 if number < 0.7 * pictures else 1 if number < 0.9 * pictures else 2 for number in range(pictures)]
    headers = ' '.join(f'Fact_{number}' for number in range(ATTRIBUTES))
    _table(home / 'list_attr_celeba.txt', names, rows, headers)
    _table(home / 'list_eval_partition.txt', names, [[part] for part in parts])
    _table(home / 'identity_CelebA.txt', names, [[number % 9 + 1] for number in range(pictures)])
    _table(home / 'list_bbox_celeba.txt', names, [[0, 0, *_FACE]] * pictures, 'image_id x_1 y_1 width height')
    marks = 'lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y'
    _table(home / 'list_landmarks_align_celeba.txt', names, [[50] * 10] * pictures, marks)
    return folder


def coco(folder: Path, *, train: int = 60, val: int = 20, size: int = 64) -> Path:
    """Write scenes of real items with boxes: pictures and annotation files."""
    splits = {'train': real_scenes('train', train, size=size), 'val': real_scenes('test', val, size=size, seed=1)}
    return write_coco(folder, splits, real_classes())


def _table(path: Path, names: Sequence[str], rows: Sequence[Sequence[int]], headers: str = '') -> None:
    lines = [str(len(names)), headers] if headers else []
    lines += [' '.join([name, *(f'{each:2d}' for each in row)]) for name, row in zip(names, rows)]
    path.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    place = Path(sys.argv[1])
    imagenet(place / 'imagenet')
    cifar(place / 'cifar10')
    cifar(place / 'cifar100', 'cifar100')
    celeba(place / 'celeba')
    coco(place / 'coco')
