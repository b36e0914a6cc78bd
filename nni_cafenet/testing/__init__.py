"""Small real data and small networks for tests, examples and the quickstart, which train in seconds on one core."""

from .handwritten_digits import digits
from .networks import SmallResNet, StagedResNet
from .scenes import Scene, compose_scenes, write_coco, write_yolo

__all__ = ['Scene', 'SmallResNet', 'StagedResNet', 'compose_scenes', 'digits', 'write_coco', 'write_yolo']
