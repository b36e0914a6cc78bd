"""Scenes as files: data sets for detection in the formats of COCO and YOLO."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..utils import write_text
from .new_folder import new_folder
from .scenes import Scene

__all__ = ['write_coco', 'write_yolo']


def write_coco(folder: str | Path, splits: Mapping[str, Iterable[Scene]], classes: Sequence[str]) -> Path:
    """Write scenes in the format of COCO: a folder of PNG files and a JSON file of boxes for each split.

    Parameters
    ----------
    folder
        The folder of the data set; it is created, and must not exist, or be empty. A call that is killed leaves none.
    splits
        ``{'train': scenes, 'val': scenes}``, or with the names of COCO's parts: ``train2017``, ``val2017``.
    classes
        Names of the classes; category 1 is the first.

    Returns
    -------
    Path
        The folder, with ``SPLIT/000000.png`` and ``annotations/instances_SPLIT.json``.

    Raises
    ------
    ValueError
        If the folder holds something.
    """
    categories = [{'id': index, 'name': name, 'supercategory': 'item'} for index, name in enumerate(classes, start=1)]
    with new_folder(folder) as home:
        for split, scenes in splits.items():
            images: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            for number, (name, scene) in enumerate(_written(home / split, scenes), start=1):
                height, width = scene.picture.shape[:2]
                images.append({'id': number, 'file_name': name, 'width': width, 'height': height})
                for (left, top, right, bottom), label in zip(scene.boxes.tolist(), scene.labels.tolist()):
                    box = [left, top, right - left, bottom - top]
                    annotations.append(
                        {'id': len(annotations) + 1, 'image_id': number, 'category_id': label + 1, 'iscrowd': 0}
                        | {'bbox': box, 'area': box[2] * box[3]}
                    )
            record = {'images': images, 'annotations': annotations, 'categories': categories}
            write_text(home / 'annotations' / f'instances_{split}.json', json.dumps(record))
    return Path(folder)


def write_yolo(folder: str | Path, splits: Mapping[str, Iterable[Scene]], classes: Sequence[str]) -> Path:
    """Write scenes in the format of Ultralytics: pictures, a text file of boxes beside each, and a YAML file.

    Parameters
    ----------
    folder
        The folder of the data set; it is created, and must not exist, or be empty. A call that is killed leaves none.
    splits
        ``{'train': scenes, 'val': scenes}``.
    classes
        Names of the classes.

    Returns
    -------
    Path
        ``folder/data.yaml``, which Ultralytics takes as ``data=``.

    Raises
    ------
    ValueError
        If the folder holds something.
    """
    folder = Path(folder).absolute()
    names = ''.join(f'  {index}: {json.dumps(name)}\n' for index, name in enumerate(classes))
    places = ''.join(f'{split}: images/{split}\n' for split in splits)
    with new_folder(folder) as home:
        for split, scenes in splits.items():
            (home / 'labels' / split).mkdir(parents=True, exist_ok=True)
            for name, scene in _written(home / 'images' / split, scenes):
                height, width = scene.picture.shape[:2]
                lines = [
                    f'{label} {(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f} '
                    f'{(right - left) / width:.6f} {(bottom - top) / height:.6f}\n'
                    for (left, top, right, bottom), label in zip(scene.boxes.tolist(), scene.labels.tolist())
                ]
                (home / 'labels' / split / f'{Path(name).stem}.txt').write_text(''.join(lines), encoding='utf-8')
        write_text(home / 'data.yaml', f'path: {json.dumps(str(folder))}\n{places}names:\n{names}')
    return folder / 'data.yaml'


def _written(folder: Path, scenes: Iterable[Scene]) -> Iterator[tuple[str, Scene]]:
    """Write the pictures of scenes; yield the name of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes):
        name = f'{number:06d}.png'
        Image.fromarray(scene.picture).save(folder / name)
        yield name, scene
