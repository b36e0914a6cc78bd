"""Records of options: dataclasses whose fields carry their default, the kind of value allowed, and a help text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .kinds import Kind

__all__ = ['Option', 'Record', 'option']

_KEY = 'option'


@dataclass(frozen=True)
class Option:
    """An option of a record.

    ``argument`` is its name in functions and messages, ``help`` a phrase for ``--help`` and tables.
    """

    name: str
    argument: str
    kind: Kind
    default: Any
    help: str


def option(default: Any, kind: Kind, help: str, *, argument: str = '') -> Any:
    """Declare a field of a `Record`; ``argument``: its name in functions and messages, if another one."""
    return dataclasses.field(default=default, metadata={_KEY: (kind, help, argument)})


@dataclass(frozen=True, kw_only=True)
class Record:
    """Options that belong together, checked and converted when the record is made (see `Kind.check`)."""

    def __post_init__(self) -> None:
        for each in self.options():
            object.__setattr__(self, each.name, each.kind.check(each.argument, getattr(self, each.name)))

    @classmethod
    def options(cls) -> list[Option]:
        """Return the options of the record, without fields that other code checks."""
        return [
            Option(field.name, argument or field.name, kind, field.default, help)
            for field in dataclasses.fields(cls)
            if _KEY in field.metadata
            for kind, help, argument in [field.metadata[_KEY]]
        ]

    @classmethod
    def option(cls, name: str) -> Option:
        """Return an option by the name of its field."""
        return next(each for each in cls.options() if each.name == name)

    @classmethod
    def check(cls, name: str, value: Any) -> Any:
        """Check one option; return its value, converted."""
        found = cls.option(name)
        return found.kind.check(found.argument, value)
