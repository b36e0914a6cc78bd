"""Write small data sets of real pictures in the formats of known ones: ``python -m nni_cafenet.testing --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import DataError
from .attributes import write_celeba
from .item_scenes import real_classes, real_scenes
from .items import read_items
from .miniatures import write_cifar, write_imagenet
from .scene_files import write_coco, write_yolo

__all__ = ['main']

_DESCRIPTION = """\
Write small data sets in the real formats, drawn by a seed from real pictures, to try the named recipes on: DIR/imagenet,
DIR/cifar10, DIR/cifar100 and DIR/celeba; with --coco or --yolo, scenes of 1 to 6 items with exact boxes for detectors.
Items are those of Fashion-MNIST if Debian's package dataset-fashion-mnist is installed, else scikit-learn's digits.
"""

_EXAMPLES = """\
examples:
  python -m nni_cafenet.testing miniatures
  nni-cafenet search --recipe cifar10/mobilenet_v2-44M --data cifar10:miniatures/cifar10 --fraction 0.01 --output runs/try
  python -m nni_cafenet.testing --coco scenes
  nni-cafenet search --recipe coco/retinanet_resnet50_fpn-50% --data coco:scenes --input 1 3 96 96 --output runs/boxes
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the data sets that are asked for; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.folder or options.coco or options.yolo):
        parser.error('give DIR, --coco DIR or --yolo DIR')
    for name in ('train', 'val'):
        if getattr(options, name) < 1:
            parser.error(f'--{name} {getattr(options, name)}: must be 1 or more')
    if not options.scale > 0:
        parser.error(f'--scale {options.scale:g}: must be above 0')
    if options.seed < 0:
        parser.error(f'--seed {options.seed}: must be 0 or more')
    for folder in filter(None, (options.coco, options.yolo)):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            parser.error(f'{folder}: is not empty; give a new folder')
    try:
        if options.folder:
            _write_miniatures(options)
        _write_scenes(options)
    except (DataError, ValueError) as error:
        parser.error(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m nni_cafenet.testing',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        'folder', metavar='DIR', type=Path, nargs='?', help='folder of the data sets; those that exist already are kept'
    )
    add('--items', choices=('fashion-mnist', 'digits'), help='what the pictures of DIR show (default: see above)')
    add('--scale', type=float, default=1.0, help='number of pictures in DIR, as a factor (default: 1, 2,500 of each)')
    add('--coco', metavar='DIR', type=Path, help="a new folder of scenes in COCO's format")
    add('--yolo', metavar='DIR', type=Path, help='a new folder of scenes in the format of Ultralytics')
    add('--train', metavar='N', type=int, default=1000, help='scenes for training (default: 1000)')
    add('--val', metavar='N', type=int, default=250, help='scenes for validation (default: 250)')
    add('--size', metavar='N', type=int, default=96, help="pixels of a scene's side, 42 or more (default: 96)")
    add('--seed', metavar='N', type=int, default=0, help='the same seed gives the same pictures (default: 0)')
    return parser


def _write_miniatures(options: argparse.Namespace) -> None:
    items = read_items(options.items)

    def scaled(number: int) -> int:
        return max(5, round(number * options.scale))

    seed = options.seed
    for name in ('imagenet', 'cifar10', 'cifar100', 'celeba'):
        folder = options.folder / name
        if folder.exists():
            print(f'{folder} is there already', file=sys.stderr)  # noqa: T201
        elif name == 'imagenet':
            write_imagenet(folder, items, train=scaled(200), val=scaled(50), seed=seed)
        elif name == 'celeba':
            write_celeba(folder, items, train=scaled(2000), valid=scaled(300), test=scaled(200), seed=seed)
        else:
            write_cifar(folder, items, name, train=scaled(2000), test=scaled(500), seed=seed)  # type: ignore[arg-type]
        kind = 'imagefolder' if name == 'imagenet' else name
        print(f'--data {kind}:{folder}')  # noqa: T201


def _write_scenes(options: argparse.Namespace) -> None:
    classes = real_classes()
    for folder, write in ((options.coco, write_coco), (options.yolo, write_yolo)):
        if folder:
            splits = {
                'train': real_scenes('train', options.train, size=options.size, seed=options.seed),
                'val': real_scenes('test', options.val, size=options.size, seed=options.seed + 1),
            }
            print(f'{write(folder, splits, classes)}: {options.train} and {options.val} scenes of {", ".join(classes)}')  # noqa: T201


if __name__ == '__main__':
    sys.exit(main())
