"""Annotation files of COCO, as arrays: a few hundred MB of objects would be copied into every worker process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, first_line

__all__ = ['CocoAnnotations']

_PARTS = ('images', 'annotations', 'categories')
_REMEDY = 'unpack it again, or write it again'


@dataclass(frozen=True)
class CocoAnnotations:
    """The pictures of an annotation file and their boxes, picture after picture. Made by `read`.

    ``names`` are the files of the pictures, ``categories`` the names of the categories by id, ids ascending. The boxes of
    picture ``i`` are the rows ``starts[i]`` to ``starts[i + 1]`` of ``boxes`` (left, top, right, bottom in pixels,
    float32), ``ids`` (of their categories) and ``crowds``. ``dropped``: how many boxes have no area, and are left out.
    """

    names: Sequence[str]
    starts: NDArray[np.int64]
    boxes: NDArray[np.float32]
    ids: NDArray[np.int64]
    crowds: NDArray[np.bool_]
    categories: Mapping[int, str]
    dropped: int

    @classmethod
    def read(cls, path: Path) -> CocoAnnotations:
        """Read a file; raise DataError if it is damaged or has other annotations than boxes."""
        found = _parts(path)
        images, annotations = found['images'], found['annotations']
        try:
            categories = {int(each['id']): str(each['name']) for each in found['categories']}
            numbers = {each['id']: index for index, each in enumerate(images)}
            names = [str(each['file_name']) for each in images]
            places = [each['image_id'] for each in annotations]
            ids = [each['category_id'] for each in annotations]
            boxes = np.array([each['bbox'] for each in annotations], np.float64).reshape(len(annotations), 4)
            crowds = np.array([bool(each.get('iscrowd', 0)) for each in annotations], np.bool_)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f'{path}: an entry is incomplete ({type(error).__name__}: {first_line(error, 80)}); {_REMEDY}'
            ) from error
        _check(path, names, numbers, places, ids, categories, boxes)
        of_pictures = np.array([numbers[each] for each in places], np.int64)
        order = np.argsort(of_pictures, kind='stable')
        order = order[(boxes[order, 2:] > 0).all(1)]
        counts = np.bincount(of_pictures[order], minlength=len(names))
        boxes[:, 2:] += boxes[:, :2]
        return cls(
            names,
            np.concatenate([[0], counts.cumsum()]),
            boxes[order].astype(np.float32),
            np.array(ids, np.int64)[order],
            crowds[order],
            dict(sorted(categories.items())),
            len(annotations) - len(order),
        )


def _parts(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read ({first_line(error, 80)}); {_REMEDY}') from error
    lacking = [part for part in _PARTS if not isinstance(found, Mapping) or not isinstance(found.get(part), list)]
    if lacking:
        raise DataError(
            f'{path}: has no {lacking[0]}, so it holds no boxes of COCO; files with boxes are named instances_*.json'
        )
    return found


def _check(
    path: Path,
    names: Sequence[str],
    numbers: Mapping[Any, int],
    places: Sequence[Any],
    ids: Sequence[Any],
    categories: Mapping[int, str],
    boxes: NDArray[np.float64],
) -> None:
    """Raise DataError for an entry that contradicts others."""
    strange_pictures = [each for each in places if each not in numbers]
    strange_categories = [each for each in ids if each not in categories]
    problem = None
    if not names:
        problem = 'lists no pictures'
    elif len(numbers) < len(names):
        problem = f'lists {len(names) - len(numbers)} pictures under the id of another one'
    elif len(set(names)) < len(names):
        problem = f'lists {Counter(names).most_common(1)[0][0]} several times'
    elif not len(boxes):
        problem = 'has no boxes'
    elif strange_pictures:
        problem = f'has boxes of the picture {strange_pictures[0]}, which it does not list'
    elif strange_categories:
        problem = f'has boxes of the category {strange_categories[0]}, which it does not list'
    elif min(categories) < 0:
        problem = f'has the category {min(categories)}; ids are 0 or more'
    elif not np.isfinite(boxes).all():
        problem = 'has boxes whose numbers are not finite'
    if problem is not None:
        raise DataError(f'{path}: {problem}; {_REMEDY}')
