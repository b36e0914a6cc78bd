"""Small data sets in the formats of ImageNet and CIFAR, drawn by a seed from real pictures."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ..utils import check_whole_number
from .composition import Drawn, choose, draw, photograph_cut
from .items import Items
from .new_folder import new_folder

__all__ = ['write_cifar', 'write_imagenet']

_SIDE = 32


def write_imagenet(
    folder: str | Path,
    items: Mapping[str, Items],
    *,
    train: int = 200,
    val: int = 50,
    size: int = 64,
    classes: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a folder of the form of ImageNet: ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``.

    Parameters
    ----------
    folder
        The folder; it is created, and must not exist, or be empty.
    items
        What the pictures show, of `read_items`: ``'train'`` in ``train``, ``'test'`` in ``val``.
    train, val
        Pictures of each class.
    size
        Smallest width and height in pixels; the largest are half as large again.
    classes
        Number of classes. None: all of the items.
    seed
        The same seed and arguments give the same files.

    Returns
    -------
    Path
        The folder: ``--data imagefolder:FOLDER``. Each picture is one item in a random color, size and place, on a cut
        of a photograph of scikit-learn's.

    Raises
    ------
    ValueError
        If the folder holds something, or an argument is out of range.
    """
    names = items['train'].classes
    classes = len(names) if classes is None else classes
    for name, value in (('train', train), ('val', val), ('size', size), ('classes', classes)):
        check_whole_number(name, value, 1)
    if classes > len(names):
        raise ValueError(f'classes={classes} must be at most {len(names)}, those of the items.')
    rng = np.random.default_rng([seed, 1])
    with new_folder(folder) as home:
        for part, split, count in (('train', 'train', train), ('val', 'test', val)):
            for label in range(classes):
                place = home / part / f'n{label:08d}'
                place.mkdir(parents=True)
                for number in range(count):
                    width, height = (int(rng.integers(size, size + size // 2 + 1)) for _ in range(2))
                    picture = _picture(rng, items[split], [label], (width, height))
                    picture.save(place / f'n{label:08d}_{number}.JPEG', quality=90)
    return Path(folder)


def write_cifar(
    folder: str | Path,
    items: Mapping[str, Items],
    kind: Literal['cifar10', 'cifar100'] = 'cifar10',
    *,
    train: int = 2000,
    test: int = 500,
    seed: int = 0,
) -> Path:
    """Write the pickled batches of CIFAR-10 or CIFAR-100, with fewer pictures: 32 x 32, in color.

    Parameters
    ----------
    folder
        The folder above ``cifar-10-batches-py`` or ``cifar-100-python``; it is created, and must not exist, or be empty.
    items
        What the pictures show, of `read_items`, with 10 classes.
    kind
        ``'cifar10'``: one item. ``'cifar100'``: two, one above the other; their classes are the two figures of the label.
    train, test
        Number of pictures of each part.
    seed
        The same seed and arguments give the same files.

    Returns
    -------
    Path
        The folder: ``--data cifar10:FOLDER``.

    Raises
    ------
    ValueError
        If the folder holds something, or an argument is out of range.
    """
    if kind not in ('cifar10', 'cifar100'):
        raise ValueError(f"kind={kind!r} must be 'cifar10' or 'cifar100'.")
    names = items['train'].classes
    if len(names) != 10:
        raise ValueError(f'items have {len(names)} classes; CIFAR needs 10.')
    for name, value, least in (('train', train, 5), ('test', test, 1)):
        check_whole_number(name, value, least)
    rng = np.random.default_rng([seed, 2])
    one = kind == 'cifar10'
    key, number = ('labels', 10) if one else ('fine_labels', 100)
    with new_folder(folder) as home:
        inner = home / ('cifar-10-batches-py' if one else 'cifar-100-python')
        inner.mkdir()

        def write(name: str, split: str, count: int) -> None:
            targets = [int(each) for each in rng.permutation(np.arange(count) % number)]
            shown = [[target] if one else [target // 10, target % 10] for target in targets]
            pictures = [np.asarray(_picture(rng, items[split], each, (_SIDE, _SIDE))) for each in shown]
            data = np.stack(pictures).transpose(0, 3, 1, 2).reshape(count, -1)
            (inner / name).write_bytes(pickle.dumps({'data': data, key: targets}, protocol=2))

        if one:
            for batch in range(5):
                write(f'data_batch_{batch + 1}', 'train', train // 5 + (batch < train % 5))
            write('test_batch', 'test', test)
            meta, labels = 'batches.meta', {'label_names': list(names)}
        else:
            write('train', 'train', train)
            write('test', 'test', test)
            pairs = [f'{upper} above {lower}' for upper in names for lower in names]
            meta, labels = 'meta', {'fine_label_names': pairs}
        (inner / meta).write_bytes(pickle.dumps(labels, protocol=2))
    return Path(folder)


def _picture(rng: np.random.Generator, items: Items, labels: Sequence[int], size: tuple[int, int]) -> Image.Image:
    """Return a photograph with items of some classes, from the top; ``size`` is (width, height)."""
    picture = photograph_cut(rng, size)
    row = size[1] / len(labels)
    for number, label in enumerate(labels):
        side = int(min(size[0], row) * rng.uniform(0.65, 0.95))
        left, top = int(rng.integers(size[0] - side + 1)), int(rng.integers(int(row) - side + 1))
        color = tuple(int(part) for part in rng.integers(130, 256, 3))
        center = left + side // 2, int(number * row) + top + side // 2
        draw(picture, Drawn(choose(rng, items, label), side, center, color))  # type: ignore[arg-type]
    return picture
