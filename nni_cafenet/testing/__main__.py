"""Write detection data of real items: ``python -m nni_cafenet.testing --coco DIR`` or ``--yolo DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .item_scenes import real_classes, real_scenes
from .scene_files import write_coco, write_yolo

__all__ = ['main']

_DESCRIPTION = """\
Write a small data set for detection, without a download: scenes of 1 to 6 real items with exact boxes. Items are those
of Fashion-MNIST if Debian's package dataset-fashion-mnist is installed, else scikit-learn's digits.
"""

_EXAMPLES = """\
examples:
  python -m nni_cafenet.testing --coco scenes
  nni-cafenet search --recipe coco/retinanet_resnet50_fpn-50% --data coco:scenes --input 1 3 96 96 --output runs/try
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the data sets that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m nni_cafenet.testing',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--coco', metavar='DIR', type=Path, help="a new folder in COCO's format")
    parser.add_argument('--yolo', metavar='DIR', type=Path, help='a new folder in the format of Ultralytics')
    parser.add_argument('--train', metavar='N', type=int, default=1000, help='scenes for training (default: 1000)')
    parser.add_argument('--val', metavar='N', type=int, default=250, help='scenes for validation (default: 250)')
    parser.add_argument('--size', metavar='N', type=int, default=96, help='pixels of a side, 42 or more (default: 96)')
    parser.add_argument('--seed', metavar='N', type=int, default=0, help='the same seed gives the same scenes')
    options = parser.parse_args(arguments)
    chosen = [(folder, write) for folder, write in ((options.coco, write_coco), (options.yolo, write_yolo)) if folder]
    if not chosen:
        parser.error('give --coco DIR or --yolo DIR')
    for name in ('train', 'val'):
        if getattr(options, name) < 1:
            parser.error(f'--{name} {getattr(options, name)}: must be 1 or more')
    for folder, write in chosen:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            parser.error(f'{folder}: is not empty; give a new folder')
        try:
            splits = {
                'train': real_scenes('train', options.train, size=options.size, seed=options.seed),
                'val': real_scenes('test', options.val, size=options.size, seed=options.seed + 1),
            }
        except ValueError as error:
            parser.error(str(error))
        classes = real_classes()
        print(f'{write(folder, splits, classes)}: {options.train} and {options.val} scenes of {", ".join(classes)}')  # noqa: T201
    return 0


if __name__ == '__main__':
    sys.exit(main())
