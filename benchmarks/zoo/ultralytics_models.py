"""The smallest YOLO of three generations, for four tasks, as Ultralytics makes it (AGPL-3.0: for the sweep alone).

Boxes, scores, masks and key points are the outputs that count. The maps that the head reads come out beside them.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from torch import nn

from .library import Library, Shape

_TASKS = {
    '': ('DetectionModel', 640),
    '-seg': ('SegmentationModel', 640),
    '-pose': ('PoseModel', 640),
    '-cls': ('ClassificationModel', 224),
}
"""The class of a task, and how many pixels a side of its pictures has, by the end of a model's name."""

_GENERATIONS = ('yolov8n', 'yolo11n', 'yolo26n')


def _shapes() -> dict[str, Shape]:
    return {f'{name}{end}': (3, size, size) for name in _GENERATIONS for end, (_, size) in _TASKS.items()}


def _make(name: str) -> nn.Module:
    os.environ.setdefault('YOLO_AUTOINSTALL', 'false')  # Ultralytics installs nothing by itself
    tasks = importlib.import_module('ultralytics.nn.tasks')
    kind, _ = _TASKS[name.removeprefix(next(each for each in _GENERATIONS if name.startswith(each)))]
    return getattr(tasks, kind)(f'{name}.yaml', verbose=False)


def without_maps(output: Any) -> Any:
    """Return an output of a YOLO without the maps that its head reads."""
    if isinstance(output, dict):
        return {name: without_maps(part) for name, part in output.items() if name != 'feats'}
    if isinstance(output, (list, tuple)):
        return [without_maps(part) for part in output]
    return output


ULTRALYTICS = Library('ultralytics', _shapes, _make, outputs=lambda _: without_maps)
