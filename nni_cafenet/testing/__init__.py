"""Small real data and small networks for tests, examples and the quickstart, which train in seconds on one core."""

from .attributes import write_celeba
from .handwritten_digits import digits
from .items import FASHION_MNIST_CLASSES, FASHION_MNIST_FOLDER, Items, read_fashion_mnist, read_items
from .miniatures import write_cifar, write_imagenet
from .networks import SmallResNet, StagedResNet
from .scenes import Scene, compose_scenes, write_coco, write_yolo

__all__ = [
    'FASHION_MNIST_CLASSES',
    'FASHION_MNIST_FOLDER',
    'Items',
    'Scene',
    'SmallResNet',
    'StagedResNet',
    'compose_scenes',
    'digits',
    'read_fashion_mnist',
    'read_items',
    'write_celeba',
    'write_cifar',
    'write_coco',
    'write_imagenet',
    'write_yolo',
]
