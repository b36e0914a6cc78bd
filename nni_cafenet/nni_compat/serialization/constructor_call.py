"""One constructor call, as a record that can be pickled."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any

from nni.common.serializer import get_hybrid_cls_or_func_name, import_cls_or_func_from_hybrid_name

__all__ = ['ConstructorRecord']


@dataclasses.dataclass(frozen=True)
class ConstructorRecord:
    """A call that makes an object: what was called, with what, under which seed; position in the result."""

    made_by: Any
    seed: int
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    place: tuple[Any, ...] = ()

    def __deepcopy__(self, memo: Any) -> ConstructorRecord:
        return self

    def __reduce__(self) -> Any:  # decorated objects are not found under their own names
        name = get_hybrid_cls_or_func_name(self.made_by, sys.maxsize) if _has_name(self.made_by) else self.made_by
        return _record_of_call, (name, self.seed, self.args, self.kwargs, self.place)


def _has_name(made_by: Any) -> bool:
    return isinstance(made_by, type) or inspect.isroutine(made_by)


def _record_of_call(name: Any, *rest: Any) -> ConstructorRecord:
    return ConstructorRecord(import_cls_or_func_from_hybrid_name(name) if isinstance(name, str) else name, *rest)
