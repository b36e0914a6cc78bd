"""Discovery and checks of image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from ...errors import DataError, first_line

__all__ = ['EXTENSIONS', 'check_images', 'find_images', 'image_size', 'open_image']

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
"""The extensions that torchvision reads."""

_SHOWN = 5
_Source = str | os.PathLike[str] | IO[bytes]


def find_images(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each class, ``folder/CLASS/**``; raise `DataError` if a class is empty or there are none."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _is_shown(entry.name))
    except OSError as error:
        raise DataError(f'the folder {folder} cannot be read ({first_line(error)})') from error
    images = {name: _images_below(folder / name) for name in names}
    if not any(images.values()):
        loose = sum(_is_image(entry.name) for entry in os.scandir(folder))
        found = f'{loose} pictures, but no folder of them' if loose else 'no pictures'
        raise DataError(
            f'{folder} holds {found}; put the pictures ({", ".join(EXTENSIONS[:3])}, ...) of every class into a folder '
            f'of their own: {folder}/CLASS/PICTURE.jpg'
        )
    empty = [name for name, files in images.items() if not files]
    if empty:
        names_of = ', '.join(str(folder / name) for name in empty[:_SHOWN])
        more = f' and {len(empty) - _SHOWN} more' if len(empty) > _SHOWN else ''
        raise DataError(f'no pictures in {names_of}{more}; a class has pictures: fill its folder, or remove it')
    if len(images) < 2:
        raise DataError(f'{folder} has only one class, {names[0]!r}: add others')
    return images


def check_images(files: Sequence[Path]) -> None:
    """Check every image, decoding only those that look truncated; raise `DataError` for unreadable ones."""
    from tqdm.auto import tqdm

    with ThreadPoolExecutor(max_workers=8) as pool, tqdm(total=len(files), desc='Pictures', unit='file') as bar:
        bad = []
        for file, problem in zip(files, pool.map(_problem, files)):
            bar.update()
            if problem is not None:
                bad.append(f'  {file}: {problem}')
    if bad:
        more = f'\n  and {len(bad) - _SHOWN} more' if len(bad) > _SHOWN else ''
        shown = '\n'.join(bad[:_SHOWN])
        raise DataError(
            f'{len(bad)} of {len(files)} pictures cannot be read; repair or remove them:\n{shown}{more}',
        )


def open_image(path: _Source, channels: int = 3, title: str = '') -> Any:
    """Return a decoded image in color or gray; raise `DataError` with its title (default: the path) if it is unreadable."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert('RGB' if channels == 3 else 'L')
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f'the picture {title or path} cannot be read ({first_line(error)}); repair or remove it'
        ) from error


def image_size(path: _Source) -> tuple[int, int]:
    """Return height and width of an image, without decoding it."""
    from PIL import Image

    with Image.open(path) as image:
        return image.height, image.width


def _problem(path: Path) -> str | None:
    """Return the problem of a file, or None."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                image.verify()
                whole = image.format not in ('JPEG', 'MPO') or _has_an_end(path)
            if not whole:  # usually truncated, but some programs omit the end marker
                with Image.open(path) as image:
                    image.load()
    except Exception as error:  # noqa: BLE001  Pillow's readers raise whatever their formats make them
        return 'is empty' if path.exists() and path.stat().st_size == 0 else first_line(error, 120)
    return None


def _has_an_end(path: Path) -> bool:
    """Whether a JPEG file has its last marker, which Pillow's `verify` does not look for."""
    with path.open('rb') as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4096))
        return b'\xff\xd9' in file.read()


def _images_below(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if _is_shown(name))
        found += [Path(place, name) for name in sorted(files) if _is_image(name)]
    return found


def _is_shown(name: str) -> bool:
    """Whether a folder is neither hidden nor created by another program."""
    return not name.startswith('.') and name != '__MACOSX'


def _is_image(name: str) -> bool:
    return _is_shown(name) and name.lower().endswith(EXTENSIONS)
