"""The folders of known data sets, and what a wrong folder holds instead."""

from __future__ import annotations

from pathlib import Path

__all__ = ['found_instead', 'layout_of', 'looks_like', 'remark_on']

_LAYOUTS = {
    'imagefolder': """\
DIR/train/CLASS/PICTURE.jpg
DIR/val/CLASS/PICTURE.jpg      or DIR/CLASS/PICTURE.jpg alone""",
    'cifar10': """\
DIR/cifar-10-batches-py/batches.meta
DIR/cifar-10-batches-py/data_batch_1 ... data_batch_5
DIR/cifar-10-batches-py/test_batch""",
    'cifar100': """\
DIR/cifar-100-python/meta
DIR/cifar-100-python/train
DIR/cifar-100-python/test""",
    'webdataset': """\
DIR/train-000000.tar ...       each with KEY.jpg, KEY.cls (the class, a number as text)
DIR/val-000000.tar ...         or all in one, of which a share is for validation""",
    'celeba': """\
DIR/celeba/img_align_celeba/000001.jpg ...
DIR/celeba/list_attr_celeba.txt
DIR/celeba/list_eval_partition.txt
DIR/celeba/identity_CelebA.txt, list_bbox_celeba.txt, list_landmarks_align_celeba.txt""",
    'coco': """\
DIR/annotations/instances_train2017.json      or instances_train.json
DIR/annotations/instances_val2017.json        or instances_val.json
DIR/train2017/PICTURE.jpg                     or train/ (a folder named as its file)
DIR/val2017/PICTURE.jpg                       or val/""",
}

_SIGNS = {
    'cifar10': ('cifar-10-batches-py', 'data_batch_1'),
    'cifar100': ('cifar-100-python',),
    'celeba': ('celeba', 'img_align_celeba', 'list_attr_celeba.txt'),
    'fashion-mnist': ('FashionMNIST', 'train-images-idx3-ubyte', 'train-images-idx3-ubyte.gz'),
    'coco': ('annotations', 'train2017', 'val2017'),
    'datasets': ('dataset_dict.json', 'dataset_info.json', '*.parquet'),
    'webdataset': ('*.tar', '*/*.tar'),
    'imagefolder': ('train', 'val'),
}
"""Patterns of files and folders by which a data set is recognized."""


def layout_of(kind: str, folder: Path) -> str:
    """Return the files that a source needs, indented, one per line."""
    lines = _LAYOUTS[kind].replace('DIR', str(folder)).splitlines()
    return '\n'.join(f'  {line}' for line in lines)


def found_instead(kind: str, folder: Path) -> str:
    """Return a remark on what a folder holds instead of a data set: another one, other files, nothing, or no folder."""
    if not folder.exists():
        return 'is not there'
    if not folder.is_dir():
        return 'is a file'
    remark = looks_like(kind, folder)
    if remark:
        return remark
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return 'is empty'
    return f'has {", ".join(names[:4])}{" ..." if len(names) > 4 else ""}'


def looks_like(kind: str, folder: Path) -> str:
    """Return a remark on a folder that is one of another data set, or the one above; an empty text for others."""
    if not folder.is_dir():
        return ''
    inner = next((each for each in sorted(folder.iterdir()) if each.is_dir() and _has_signs(kind, each)), None)
    if inner is not None and not _has_signs(kind, folder):
        return f'looks like the folder above {kind}:{inner}'
    other = next((name for name in _SIGNS if _has_signs(name, folder)), None)
    return f'looks like {other}:{folder}' if other not in (None, kind) else ''


def remark_on(kind: str, folder: Path) -> str:
    """Return what a folder `looks_like` as a sentence after another one; an empty text if it says nothing."""
    instead = looks_like(kind, folder)
    return f' It {instead}.' if instead else ''


def _has_signs(kind: str, folder: Path) -> bool:
    return any(any(folder.glob(sign)) for sign in _SIGNS[kind])
