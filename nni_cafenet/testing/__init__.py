"""Small real data and small networks for tests, examples and the quickstart, which train in seconds on one core."""

from .attributes import write_celeba
from .fashion_mnist import FASHION_MNIST_CLASSES, FASHION_MNIST_FOLDER, read_fashion_mnist
from .handwritten_digits import digits
from .item_scenes import real_classes, real_scenes
from .items import Items, read_items
from .miniatures import write_cifar, write_imagenet
from .networks import SmallResNet, StagedResNet
from .scene_files import write_coco, write_yolo
from .scenes import Scene, compose_scenes

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
    'real_classes',
    'real_scenes',
    'write_celeba',
    'write_cifar',
    'write_coco',
    'write_imagenet',
    'write_yolo',
]
