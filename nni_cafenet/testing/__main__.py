"""``python -m nni_cafenet.testing DIR`` writes DIR/imagenet, DIR/cifar10, DIR/cifar100 and DIR/celeba.

Small data sets in the real formats, drawn by a seed from real pictures, to try the named recipes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nni_cafenet.errors import DataError
from nni_cafenet.testing import read_items, write_celeba, write_cifar, write_imagenet


def main(arguments: list[str] | None = None) -> int:
    """Write the data sets."""
    parser = argparse.ArgumentParser(
        prog='python -m nni_cafenet.testing',
        description='Write small data sets in the formats of ImageNet, CIFAR and CelebA, drawn from real pictures.',
    )
    add = parser.add_argument
    add('folder', type=Path, metavar='DIR', help='folder of the data sets; those that are there already are kept')
    add(
        '--items',
        choices=('fashion-mnist', 'digits'),
        help="what the pictures show (default: Fashion-MNIST if Debian's package dataset-fashion-mnist is installed, else "
        "scikit-learn's digits)",
    )
    add('--scale', type=float, default=1.0, help='number of pictures, as a factor (default: 1, 2,500 of each)')
    add('--seed', type=int, default=0, help='default: 0')
    options = parser.parse_args(arguments)
    if not options.scale > 0:
        parser.error(f'--scale {options.scale:g}: must be above 0')
    if options.seed < 0:
        parser.error(f'--seed {options.seed}: must be 0 or more')
    try:
        items = read_items(options.items)
    except DataError as error:
        parser.error(str(error))

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
    return 0


if __name__ == '__main__':
    sys.exit(main())
