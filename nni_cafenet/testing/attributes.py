"""Pictures with 40 facts about them, in the format of CelebA, drawn by a seed from real pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..utils import check_whole_number
from .composition import Drawn, choose, draw, photograph_cut
from .items import Items
from .new_folder import new_folder

__all__ = ['write_celeba']

_SIZE = (178, 218)  # width, height of CelebA's pictures
_ROWS = (68, 150)  # where the two items are, inside of the square that validation takes
_SIDES = (50, 72)
_COLORS = ('red', 'green', 'blue')
_MARKS = 'lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y'
_BOXES = 'image_id x_1 y_1 width height'


@dataclass(frozen=True)
class _Shown:
    """An item of a picture: its class, and how it is drawn."""

    label: int
    color: int
    is_bright: bool
    is_large: bool
    is_upside_down: bool


def write_celeba(
    folder: str | Path,
    items: Mapping[str, Items],
    *,
    train: int = 2000,
    valid: int = 300,
    test: int = 300,
    seed: int = 0,
) -> Path:
    """Write the files of CelebA, with two items in place of a face, and 40 facts in place of attributes.

    The facts can be seen: the class of the upper and of the lower item (10 each), their colors, brightness, size and
    whether they are upside down; the photograph behind them and its brightness; whether both are of one class, color or
    size. Mirroring and mild crops, which training does at random, change none of them.

    Parameters
    ----------
    folder
        The folder above ``celeba``; it is created, and must not exist, or be empty.
    items
        What the pictures show, of `read_items`, with 10 classes; validation and test pictures show those of ``'test'``.
    train, valid, test
        Number of pictures of each part.
    seed
        The same seed and arguments give the same files.

    Returns
    -------
    Path
        The folder: ``--data celeba:FOLDER``.

    Raises
    ------
    ValueError
        If the folder holds something, or an argument is out of range.
    """
    classes = items['train'].classes
    if len(classes) != 10:
        raise ValueError(f'items have {len(classes)} classes; the facts need 10.')
    parts = (('train', train), ('valid', valid), ('test', test))
    for part, count in parts:
        check_whole_number(part, count, 1)
    rng = np.random.default_rng([seed, 3])
    names = [f'{number:06d}.jpg' for number in range(1, train + valid + test + 1)]
    splits = [number for number, (_, count) in enumerate(parts) for _ in range(count)]
    with new_folder(folder) as temporary:
        home = temporary / 'celeba'
        (home / 'img_align_celeba').mkdir(parents=True)
        rows: list[list[int]] = []
        facts: dict[str, bool] = {}
        for name, split in zip(names, splits):
            picture, facts = _picture(rng, items['test' if split else 'train'])
            picture.save(home / 'img_align_celeba' / name, quality=90)
            rows.append([1 if fact else -1 for fact in facts.values()])
        _write_table(home / 'list_attr_celeba.txt', names, rows, ' '.join(facts))
        _write_table(home / 'list_eval_partition.txt', names, [[split] for split in splits])
        _write_table(home / 'identity_CelebA.txt', names, [[number + 1] for number in range(len(names))])
        _write_table(home / 'list_bbox_celeba.txt', names, [[0, 0, *_SIZE]] * len(names), _BOXES)
        _write_table(home / 'list_landmarks_align_celeba.txt', names, [[50] * 10] * len(names), _MARKS)
    return Path(folder)


def _picture(rng: np.random.Generator, items: Items) -> tuple[Image.Image, dict[str, bool]]:
    """Return a picture, and the facts about it by name."""
    photograph, is_light, is_gray = int(rng.integers(2)), bool(rng.integers(2)), rng.random() < 0.2
    picture = photograph_cut(rng, _SIZE, 0.8 if is_light else 0.35, photograph)
    both = []
    for row in _ROWS:
        shown = _Shown(
            int(rng.integers(len(items.classes))), int(rng.integers(3)), *(rng.integers(2, size=3) > 0).tolist()
        )
        both.append(shown)
        color = [80, 80, 80] if shown.is_bright else [40, 40, 40]
        color[shown.color] *= 3
        side = _SIDES[shown.is_large] + int(rng.integers(-4, 5))
        center = _SIZE[0] // 2 + int(rng.integers(-40, 41)), row + int(rng.integers(-6, 7))
        drawn = Drawn(
            choose(rng, items, shown.label), side, center, (color[0], color[1], color[2]), shown.is_upside_down
        )
        draw(picture, drawn)
    if is_gray:
        picture = picture.convert('L').convert('RGB')
    upper, lower = both
    facts = {
        f'{where}_{name.replace(" ", "_")}': each.label == label
        for where, each in (('Upper', upper), ('Lower', lower))
        for label, name in enumerate(items.classes)
    }
    for where, each in (('Upper', upper), ('Lower', lower)):
        facts |= {f'{where}_{name}': not is_gray and each.color == index for index, name in enumerate(_COLORS)}
        facts |= {f'{where}_bright': each.is_bright, f'{where}_large': each.is_large}
        facts |= {f'{where}_upside_down': each.is_upside_down}
    facts |= {
        'Gray': is_gray,
        'Flower': photograph == 1,
        'Light': is_light,
        'Same_class': upper.label == lower.label,
        'Same_color': is_gray or upper.color == lower.color,
        'Same_size': upper.is_large == lower.is_large,
        'Both_bright': upper.is_bright and lower.is_bright,
        'One_upside_down': upper.is_upside_down != lower.is_upside_down,
    }
    return picture, facts


def _write_table(path: Path, names: Sequence[str], rows: Sequence[Sequence[int]], headers: str = '') -> None:
    lines = [str(len(names)), headers] if headers else []
    lines += [' '.join([name, *(f'{each:2d}' for each in row)]) for name, row in zip(names, rows)]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
