"""Fingerprints of functions and classes by compiled code, independent of location and formatting.

Code of installed packages is identified by name. Code of the user is identified by its compiled form, with the
functions, classes and constants that it uses. Comments, docstrings and line numbers are ignored. Compiled forms of two
Python versions cannot be compared, so the version is part of a fingerprint (see `same_code`).
"""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import os
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ['class_code', 'code_name', 'is_library', 'is_wrapped_function', 'same_code']

_VERSION = f'{sys.version_info.major}.{sys.version_info.minor}'
_NO_CODE = frozenset(
    '__module__ __doc__ __dict__ __weakref__ __annotations__ __annotate__ __annotate_func__ __annotations_cache__ '
    '__abstractmethods__ _abc_impl __parameters__ __orig_bases__ __firstlineno__ __static_attributes__ __qualname__ '
    '__dataclass_fields__ __dataclass_params__ __match_args__ __wrapped__ _traced'.split()
)
_Describe = Callable[[Any], Any]


def code_name(function: Any, describe: _Describe) -> str:
    """Return the name of a function, method or class, with a fingerprint of its code if it is the user's."""
    name = getattr(function, '__qualname__', type(function).__qualname__)
    module = getattr(function, '__module__', None) or ''
    if isinstance(function, type):
        own = class_code(function, describe)
        return f'{name} {_marked(own)}' if own else f'{module}.{name}'
    code = getattr(function, '__code__', None)
    if code is None or is_library(function.__globals__.get('__name__', module)):
        full = f'{module}.{name}' if module else name
        held = [describe(each) for each in _held(function)]
        return f'{full} {_marked(held)}' if held else full
    return f'{name} {_marked(_function(function, describe))}'


def class_code(kind: type, describe: _Describe) -> dict[str, str]:
    """Return fingerprints of the members of the user's own classes among the bases of a class, by name."""
    found: dict[str, str] = {}
    counted = _stored_by(kind)
    for base in reversed(kind.__mro__):
        if not is_library(base.__module__):
            for name, member in sorted(vars(base).items()):
                if name not in _NO_CODE and not name.startswith(('_nni', 'trace_')):
                    if name in counted and not callable(member):
                        continue  # a counter, not part of the code
                    described = _member(member, describe)
                    if described is not None:
                        found[f'{base.__qualname__}.{name}'] = described
    return found


def same_code(there: Any, now: Any) -> bool:
    """Whether two fingerprints agree, or are of different Python versions, which cannot be compared."""
    if there == now:
        return True
    versions = [
        text.partition('[code ')[2].partition(' ')[0]
        for text in (there, now)
        if isinstance(text, str) and '[code ' in text
    ]
    return len(versions) == 2 and versions[0] != versions[1]


@functools.cache
def is_library(module: str) -> bool:
    """Whether a module belongs to Python, an installed package, or this one."""
    top = module.partition('.')[0]
    if top in sys.stdlib_module_names and top != '__main__' or top in ('nni_cafenet', 'builtins', ''):
        return True
    file = getattr(sys.modules.get(module), '__file__', None) or getattr(sys.modules.get(top), '__file__', None)
    if file is None:
        return False
    path = os.path.realpath(file)
    return any(path.startswith(folder + os.sep) for folder in _library_folders())


def is_wrapped_function(value: Any) -> bool:
    """Whether it is a function or method of any kind."""
    kinds = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType)
    return isinstance(value, (*kinds, types.WrapperDescriptorType, types.MethodWrapperType))


@functools.cache
def _library_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_paths()[name] for name in ('purelib', 'platlib', 'stdlib', 'platstdlib')}
    folders.update(getattr(site, 'getsitepackages', list)())
    folders.update(path for path in sys.path if os.path.basename(path) in ('site-packages', 'dist-packages'))
    folders.add(site.getusersitepackages())
    return tuple(os.path.realpath(folder) for folder in folders if folder)


def _member(member: Any, describe: _Describe) -> str | None:
    """Return the fingerprint of a class member; None for anything but code and plain values."""
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    if isinstance(member, property):
        return ' '.join(code_name(part, describe) for part in (member.fget, member.fset) if part is not None)
    if isinstance(member, functools.cached_property):
        member = member.func
    if callable(member) or isinstance(member, (bool, int, float, str, tuple, type(None))):
        return str(describe(member))
    return None


def _stored_by(kind: type) -> set[str]:
    """Return the attributes that methods of the user's own classes write."""
    bases = [base for base in kind.__mro__ if not is_library(base.__module__)]
    codes = [getattr(member, '__code__', None) for base in bases for member in vars(base).values()]
    return {name for code in codes if code is not None for name in _stored(code, 'STORE_ATTR')}


def _stored(code: types.CodeType, operation: str) -> set[str]:
    return {str(each.argval) for each in dis.get_instructions(code) if each.opname == operation}


def _function(function: Any, describe: _Describe) -> Any:
    names = sorted(set(_global_names(function.__code__)) - _stored(function.__code__, 'STORE_GLOBAL'))
    used = {name: function.__globals__[name] for name in names if name in function.__globals__}
    return [
        _code(function.__code__),
        [describe(each) for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())],
        [describe(each) for each in _held(function)],
        {name: describe(each) for name, each in used.items() if _is_of_the_code(each)},
    ]


def _is_of_the_code(value: Any) -> bool:
    """Whether a global value belongs to the code that uses it: other functions and classes, and constants."""
    if isinstance(value, type) or is_wrapped_function(value) or isinstance(value, functools.partial):
        return True
    if isinstance(value, str):
        return os.sep not in value
    return isinstance(value, (bool, int, float, tuple))


def _held(function: Any) -> list[Any]:
    """Return the closure of a function."""
    found = []
    for cell in getattr(function, '__closure__', None) or ():
        with contextlib.suppress(ValueError):  # not filled yet
            found.append(cell.cell_contents)
    return [each for each in found if not isinstance(each, types.ModuleType)]


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _code(code: types.CodeType) -> list[Any]:
    """Return the instructions of a function, without docstrings."""
    steps = [(each.opname, _constant(each.argval)) for each in dis.get_instructions(code) if each.opname != 'CACHE']
    return [steps, code.co_varnames, code.co_freevars, code.co_flags]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return repr(value)


def _marked(code: Any) -> str:
    return f'[code {_VERSION} {hashlib.sha256(repr(code).encode()).hexdigest()[:8]}]'
