"""The name of a data set of Hugging Face, and options behind it: ``NAME,config=...,image=...,label=...``."""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, MissingExtraError

__all__ = ['HubName', 'check_datasets']

_OPTIONS = ('config', 'image', 'label')


@dataclass(frozen=True)
class HubName:
    """A name or folder, the configuration of the data set, and the columns of pictures and labels; None: found."""

    name: str
    config: str | None = None
    image: str | None = None
    label: str | None = None

    @classmethod
    def of(cls, place: str) -> HubName:
        """Read a name; a DataError for an unknown option."""
        name, *words = place.split(',')
        options = {}
        for word in words:
            key, equals, value = word.partition('=')
            if key not in _OPTIONS or not equals or not value:
                near = difflib.get_close_matches(key, _OPTIONS, n=1)
                hint = f'did you mean {near[0]}={value or "NAME"}? ' if near else ''
                raise DataError(
                    f'{word!r} is no option; {hint}allowed: {", ".join(f"{each}=NAME" for each in _OPTIONS)}'
                )
            options[key] = value
        return cls(name, **options)

    @property
    def is_folder(self) -> bool:
        """Whether it names a folder of this machine."""
        return Path(self.name).is_dir()

    def __str__(self) -> str:
        options = [f'{key}={value}' for key in _OPTIONS if (value := getattr(self, key)) is not None]
        return ','.join([self.name, *options])


def check_datasets() -> None:
    """Raise MissingExtraError if the package ``datasets`` is not installed."""
    if importlib.util.find_spec('datasets') is None:
        raise MissingExtraError(
            "data of Hugging Face needs the package datasets, not installed here: pip install 'nni-cafenet[datasets]'"
        )
