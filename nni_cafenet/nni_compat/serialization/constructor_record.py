"""Objects that record their constructor calls, so that a trial process can make them again."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import torch
from nni.common.serializer import (
    SerializableObject,
    is_wrapped_with_trace,
)
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from ...errors import first_line
from ...utils import seeded
from .constructor_call import ConstructorRecord
from .existing_data import call_of
from .pickled_argument import importable, is_recorded, pickle_argument, unpickle_argument

__all__ = ['Recorded', 'remake', 'remake_part', 'traced']

_T = TypeVar('_T')
_RECORD = '_nni_cafenet_record'
_RAW = '_nni_cafenet_raw'


def traced(what: _T) -> _T:
    """Make objects of a class or function sendable to NNI's trial processes, where they are made again.

    Its objects have the same class and behavior; they are sent as a class or function and its arguments, however much
    data they hold. In addition to `nni.trace`, of which it is a drop-in replacement:

    - classes and functions of the user's own script may be long (`nni.trace` sends at most 4 KiB of their code),
    - functions may return several objects, as ``random_split`` does; each one can be sent,
    - arguments arrive as they are: tuples, dtypes, seeded generators in the state in which they were given, ...
    - random numbers drawn while an object is made are the same in every process: a split into training and validation
      data that differed between trials would mix the two,
    - a subclass of a traced class is traced.

    Parameters
    ----------
    what
        A class, a function, or a method of a class; also as a decorator. Or a ``DataLoader``, ``Subset`` or
        ``ConcatDataset`` that exists already: the same loader or data set is made again, from traced parts; the data
        sets in it must be traced, or small.

    Returns
    -------
    A class or function to be used in its place; or the new loader or data set.

    Raises
    ------
    TypeError
        If the constructor call is unknown, or a function returns an object that cannot record it (a tensor,
        an iterator).

    Notes
    -----
    Attributes set after construction are not sent: pass them to the constructor, or make the object in a function
    and trace that. Paths are sent unchanged: relative ones count from the folder where the experiment was started.
    A traced function runs once for each object that it returns. Inside a traced class, ``super()`` takes no arguments.

    Examples
    --------
    >>> train = traced(torchvision.datasets.CIFAR10)(root='data', train=True, transform=ToTensor())
    >>> train, held_out = traced(random_split)(train, [45000, 5000])
    >>> loader = traced(DataLoader)(train, batch_size=128, shuffle=True)

    >>> @traced
    ... class MyModule(LightningModule):
    ...     def __init__(self, learning_rate: float): ...

    >>> loader = traced(DataLoader(Subset(train, range(1000)), batch_size=128))
    """
    if isinstance(what, type):
        return cast(_T, _traced_class(what))
    if inspect.isroutine(what) or isinstance(what, functools.partial):
        return cast(_T, _traced_function(what))
    if is_recorded(what):
        return what
    kind, arguments = call_of(what)
    return cast(_T, traced(kind)(**{name: _traced_parts(value) for name, value in arguments.items()}))


def _traced_parts(value: Any) -> Any:
    """Trace subsets and concatenations inside of a data set."""
    if isinstance(value, list):
        return [_traced_parts(each) for each in value]
    return traced(value) if type(value) in (Subset, ConcatDataset) else value


# --- how an object was made -----------------------------------------------------------------------


def remake(made_by: Any, seed: int, /, *args: Any, **kwargs: Any) -> Any:
    """Make an object again; this is what NNI calls in a trial."""
    record = ConstructorRecord(unpickle_argument(made_by), seed, args, kwargs)
    return _recorded(_call(record.made_by, seed, args, kwargs), record)


def remake_part(place: Any, made_by: Any, seed: int, /, *args: Any, **kwargs: Any) -> Any:
    """Make one of several returned objects again."""
    return functools.reduce(operator.getitem, unpickle_argument(place), remake(made_by, seed, *args, **kwargs))


remake._traced = remake_part._traced = True  # type: ignore[attr-defined]  # NNI calls them as they are


def _first_call(made_by: Any, signature_of: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make an object, with the record of its call."""
    args, kwargs = _by_name(signature_of, args, kwargs)
    seed = int(torch.randint(2**31, ()))  # below 2**53: the numbers of JavaScript
    record = ConstructorRecord(
        made_by,
        seed,
        tuple(map(pickle_argument, args)),
        {name: pickle_argument(value) for name, value in kwargs.items()},
    )
    return _recorded(_call(made_by, seed, args, kwargs), record)


def _call(made_by: Any, seed: int, args: Any, kwargs: Mapping[str, Any]) -> Any:
    if isinstance(made_by, type):
        made_by = _traced_class(made_by)
        made_by = super(_Recording, made_by).__call__ if isinstance(made_by, _Recording) else made_by
    elif getattr(made_by, '_traced', False):
        made_by = made_by.__wrapped__
    with seeded(seed):
        return made_by(
            *map(unpickle_argument, args), **{name: unpickle_argument(value) for name, value in kwargs.items()}
        )


def _by_name(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Convert positional arguments to keyword arguments if possible, for messages and readers of a record."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[: len(args)]
    except (TypeError, ValueError):
        return args, kwargs
    names = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    if len(names) < len(args) or not kwargs.keys().isdisjoint(names):
        return args, kwargs
    return (), {**dict(zip(names, args)), **kwargs}


def _recorded(made: Any, record: ConstructorRecord) -> Any:
    """Attach a record to an object, or to each of several."""
    if type(made) in (list, tuple):
        return type(made)(_part_of(item, record, index) for index, item in enumerate(made))
    if type(made) is dict:
        return {key: _part_of(item, record, key) for key, item in made.items()}
    try:
        if isinstance(made, Tensor):
            raise TypeError('results of tensor operations would have its class')
        if isinstance(made, Recorded) and _RECORD in vars(made):
            made = copy.copy(made)  # it may be an argument of this very call
        if not isinstance(made, Recorded):
            made.__class__ = _recorded_class(cast(Any, type(made)))
        made.__dict__[_RECORD] = record
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f'traced() of {_name(record.made_by)}, which returned a {type(made).__name__}: such an object cannot record '
            f'its constructor call ({first_line(error)}). Trace a function that returns the data set or loader made of it.'
        ) from None
    return made


def _part_of(item: Any, record: ConstructorRecord, part: Any) -> Any:
    if item is None or isinstance(item, (bool, int, float, str)):
        return item
    return _recorded(item, dataclasses.replace(record, place=(*record.place, part)))


def _name(made_by: Any) -> str:
    return getattr(made_by, '__qualname__', None) or repr(made_by)


# --- functions and classes ------------------------------------------------------------------------


def _traced_function(function: Any) -> Any:
    if getattr(function, '_traced', False):  # by nni.trace, or here
        function = function.__wrapped__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _first_call(call if importable(call) else function, function, args, kwargs)

    call._traced = True  # type: ignore[attr-defined]
    return call


class Recorded:
    """A result of a traced class or function, which NNI sends to trials as its constructor call."""

    __slots__ = ()
    _traced = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._traced = True  # NNI requires the mark on every class itself

    @property
    def trace_symbol(self) -> Any:
        """The function that makes the object again."""
        return remake_part if self._record_of().place else remake

    @property
    def trace_args(self) -> list[Any]:
        """The callable, the seed, and positional arguments."""
        record = self._record_of()
        first = [pickle_argument(list(record.place))] if record.place else []
        return [*first, pickle_argument(record.made_by), record.seed, *record.args]

    @property
    def trace_kwargs(self) -> dict[str, Any]:
        """The other arguments."""
        return self._record_of().kwargs

    def trace_copy(self) -> SerializableObject:
        """Return the record without the object."""
        return SerializableObject(self.trace_symbol, list(self.trace_args), dict(self.trace_kwargs))

    def _record_of(self) -> ConstructorRecord:
        try:
            record: ConstructorRecord = self.__dict__[_RECORD]
        except KeyError:
            raise AttributeError(f'This {type(self).__name__} has no constructor record.') from None
        return record


def _reduce(self: Any, protocol: Any) -> Any:
    """Pickle an object with its contents; if its class has no importable name, by that of the original."""
    cls, raw = type(self), getattr(type(self), _RAW)
    reduced = raw.__reduce_ex__(self, protocol)
    if _RAW not in vars(cls) or importable(cls) or isinstance(reduced, str):
        return reduced
    make, args = reduced[:2]
    return (_reborn, (make, *(raw if item is cls else item for item in args)), *reduced[2:])


def _reborn(make: Callable[..., Any], *args: Any) -> Any:
    made = make(*args)
    made.__class__ = _recorded_class(cast(Any, type(made)))
    return made


class _Recording(type):
    """The metaclass of classes whose objects record their constructor calls."""

    @property
    def __signature__(cls) -> inspect.Signature:
        names: Any = cls
        signature = inspect.signature(names.__new__ if names.__init__ is object.__init__ else names.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raw = vars(cls).get(_RAW)
        try:
            return _first_call(cls if raw is None or importable(cls) else raw, raw or cls, args, kwargs)
        except RecursionError as error:
            raise TypeError(
                f'Making a traced {cls.__name__} recurses without end. Write super().__init__(...) without the name of '
                f'the class in {cls.__qualname__}.__init__: that name now refers to the traced class.'
            ) from error


def _traced_class(cls: Any) -> Any:
    if issubclass(cls, (Recorded, ModelSpace)):
        return cls
    return _recorded_class(vars(cls).get('__wrapped__', cls) if is_wrapped_with_trace(cls) else cls)


@functools.cache
def _recorded_class(raw: Any) -> Any:
    kind: Any = _Recording if type(raw) is type else type('_Recording', (_Recording, type(raw)), {})
    names = {name: getattr(raw, name) for name in ('__module__', '__qualname__', '__doc__')}
    # The original comes first, so that a returned object can change its class to this one; and its own members
    # are set here, since nni.trace of a function may have marked the original.
    own = {name: member for name, member in vars(Recorded).items() if name.startswith('trace_')}
    return kind(raw.__name__, (raw, Recorded), {**names, **own, _RAW: raw, '__reduce_ex__': _reduce})
