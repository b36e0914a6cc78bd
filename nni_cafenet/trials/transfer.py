"""Checks that space and evaluator can be sent to trial processes unchanged.

NNI sends an object made by `nni.trace` (or `nni_cafenet.traced`) as its constructor call, and anything else pickled, up to
64 KiB. It reports oversized or unpicklable objects only when the first trial starts, one at a time, and changes some
silently. These checks report all of them in advance.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import nni
import numpy as np
import pytorch_lightning as pl
from nni.common.serializer import PayloadTooLarge, get_hybrid_cls_or_func_name
from nni.nas.evaluator.pytorch import Lightning
from torch.utils.data import Dataset

from ..errors import SerializationError, first_line
from ..nni_compat import PickledArgument, is_recorded, pickle_limit, remake, remake_part, unpickle_argument
from ..supernet import MinMinModule
from .needed_modules import missing_modules
from .pickled_size import format_bytes, heaviest, measured
from .remedies import described, remedy_for

__all__ = ['check_serializable']

_logger = logging.getLogger(__name__)

_PLAIN = (type(None), bool, int, float, str)
_SYMBOL = 4096
"""nni.trace's limit, in bytes, for the code of a class or function."""
_COMPRESSED = 64
"""Assumed maximum compression ratio of pickled arguments."""
_HEAVY = 2**20
"""Size of a trial's parameters, in bytes, beyond which NNI's web page becomes slow."""
_KEEPS = 'Create the object that takes it with nni_cafenet.traced instead of nni.trace, which preserves it.'


def check_serializable(space: Any, evaluator: Any, **others: Any) -> None:
    """Refuse what cannot be sent to NNI's trial processes, before the first one starts.

    Parameters
    ----------
    space
        A `WidthSpace` or another NNI model space.
    evaluator
        Any NNI evaluator.
    others
        Other objects to be sent, by their names in messages.

    Raises
    ------
    nni_cafenet.errors.SerializationError
        A ``TypeError`` that lists everything that cannot be sent, with its path such as
        ``evaluator.train_dataloaders.dataset``, its type and size, and what to do about it.

    Notes
    -----
    Logs warnings for objects that arrive changed (in arguments of `nni.trace`, tuples become lists and keys become
    strings), for attributes set on a traced object after its construction, which are not sent, and for parameters above
    1 MiB in total.

    Not detected: a constructor under `nni.trace` draws different random numbers in every trial (`nni_cafenet.traced`
    draws the same ones). Other machines may have different files, packages or Python versions; lambdas and classes of the
    user's script need the same Python version. Pretrained ``weights=`` are sent by name and loaded on every machine.
    Callbacks appended to a trainer are not sent.
    """
    journey = _Journey()
    for name, value in {'space': space, 'evaluator': evaluator, **others}.items():
        journey.look_at(name, value)
    journey.look_for_modules()
    if journey.culprits:
        lines = [f'\n  {culprit}' for culprit in journey.culprits]
        raise SerializationError(
            f'{len(lines)} object{"s" if len(lines) > 1 else ""} cannot be sent to trial processes. Objects made by '
            f'nni_cafenet.traced or nni.trace are sent as constructor calls, all others pickled, up to {pickle_limit()} '
            f'bytes (set by the environment variable PICKLE_SIZE_LIMIT).{"".join(lines)}'
        )
    for note in journey.notes:
        _logger.warning('%s', note)
    _warn_of_size(space=space, evaluator=evaluator, **others)


@dataclass
class _Journey:
    """Findings of the traversal of space and evaluator."""

    culprits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    """``{module name: path of the first object that needs it}``."""

    def look_at(self, path: str, value: Any) -> None:
        """Check a value and its parts."""
        if isinstance(value, PickledArgument):
            self._pickled(path, value.value, kept=True)
        elif isinstance(value, MinMinModule):
            self._refuse(path, value, 'is a module that CafeNet has wrapped')
        elif is_recorded(value):
            self._recorded(path, value)
        elif _passes_on(value):
            self._refuse(
                path, value, 'forwards the constructor record of the object it wraps, which would be sent instead'
            )
        elif isinstance(value, (list, tuple, dict)):
            self._container(path, value)
        elif type(value) not in _PLAIN:
            self._pickled(path, value)

    def _container(self, path: str, value: Any) -> None:
        keys = list(value) if isinstance(value, dict) else []
        if not all(key is None or isinstance(key, (str, int, float)) for key in keys):
            self._refuse(path, value, 'has keys that are neither strings nor numbers', _KEEPS)
            return
        if not all(isinstance(key, str) for key in keys):
            self.notes.append(f'{path}: its keys arrive in trials as strings. {_KEEPS}')
        if type(value) not in (list, dict):
            self._arrives(path, value, 'dict' if isinstance(value, dict) else 'list')
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if type(item) not in _PLAIN:
                self.look_at(f'{path}[{key!r}]', item)

    def _arrives(self, path: str, value: Any, kind: str) -> None:
        self.notes.append(f'{path}: the {type(value).__name__} arrives in trials as a {kind}. {_KEEPS}')

    # --- objects sent as constructor calls --------------------------------------------------------

    def _recorded(self, path: str, value: Any) -> None:
        symbol, args = value.trace_symbol, list(value.trace_args)
        if symbol is remake_part:
            args.pop(0)
        if symbol in (remake, remake_part):
            symbol, _, *args = args  # the callable and the seed
            self.look_at(path, symbol)
            symbol = unpickle_argument(symbol)
        else:
            self._symbol(path, value, symbol)
        for index, argument in enumerate(args):
            self.look_at(f'{path}[{index}]', argument)
        for name, argument in value.trace_kwargs.items():
            self.look_at(f'{path}.{name}', argument)
        if isinstance(value, Lightning):
            self._replaced(path, value)
        elif isinstance(value, (Dataset, pl.LightningModule, pl.LightningDataModule)):
            self._changed(path, value, symbol)

    def _symbol(self, path: str, value: Any, symbol: Any) -> None:
        """Check the class or function that `nni.trace` sends."""
        try:
            name = get_hybrid_cls_or_func_name(symbol, _SYMBOL)
        except ValueError:
            self.culprits.append(
                f'{path}: {symbol.__qualname__} is defined in the script, so its code must be sent: '
                f'{format_bytes(len(cloudpickle.dumps(symbol)))}, but nni.trace sends at most {_SYMBOL} bytes. Use '
                'nni_cafenet.traced instead of nni.trace, or move it into a module.'
            )
        else:
            self._needs(symbol.__module__ if name.startswith('path:') else None, path)

    def _replaced(self, path: str, evaluator: Any) -> None:
        """Report replaced attributes of an evaluator."""
        given = {'train_dataloaders': evaluator.trace_kwargs.get('train_dataloader'), **evaluator.trace_kwargs}
        names = {name: name for name in ('train_dataloaders', 'val_dataloaders', 'datamodule')}
        if 'lightning_module' in given:  # Classification and Regression create their own
            names.update(module='lightning_module', trainer='trainer')
        for name, argument in names.items():
            if _differ(vars(evaluator)[name], given.get(argument)):
                self.culprits.append(
                    f'{path}.{name} was replaced after the evaluator was created, but trials receive the original. Create '
                    'a new evaluator.'
                )

    def _changed(self, path: str, value: Any, symbol: Any) -> None:
        """Note attributes set on an object after its construction."""
        now = vars(value)
        given = {
            **_defaults(symbol),
            **{name: unpickle_argument(argument) for name, argument in value.trace_kwargs.items()},
        }
        names = [name for name, before in given.items() if name in now and _differ(now[name], before)]
        if not names:
            return
        try:
            again = vars(value.trace_copy().get())  # the constructor may convert its arguments
        except Exception as error:  # noqa: BLE001  user classes may raise anything
            self._refuse(path, value, f'cannot be reconstructed ({type(error).__name__}: {first_line(error)})')
            return
        for name in names:
            if name in again and _differ(now[name], again[name]) and _look(now[name]) != _look(again[name]):
                self.notes.append(
                    f'{path}.{name} was set after the {type(value).__name__} was created, and is not sent to trials. Pass '
                    'it to the constructor, or create the object in a function traced by nni_cafenet.traced.'
                )

    # --- pickled objects --------------------------------------------------------------------------

    def _pickled(self, path: str, value: Any, *, kept: bool = False) -> None:
        measure = measured(value, kept)
        if measure.problem is not None:
            self._refuse(path, value, f'cannot be pickled ({measure.problem})')
            return
        if 0 < pickle_limit() * (_COMPRESSED if kept else 1) < measure.size:
            self._refuse(path, value, f'has {measure}{heaviest(path, value, kept)}')
            return
        for module in measure.modules:
            self._needs(module, path)
        try:
            text = nni.dump(PickledArgument(value) if kept else value, pickle_size_limit=pickle_limit())
            back = value if kept else nni.load(text)
        except Exception as error:  # noqa: BLE001  user classes may raise anything
            if isinstance(error, PayloadTooLarge) or 'Pickle too large' in str(error):  # for classes and functions
                self._refuse(path, value, f'has {measure}{heaviest(path, value, kept)}')
            elif 'could not be encoded' in str(error):
                self._refuse(path, value, 'cannot be encoded by NNI', _KEEPS)
            else:
                self._refuse(path, value, f'fails to serialize ({type(error).__name__}: {first_line(error)})')
        else:
            if 0 < pickle_limit() < len(text) and isinstance(value, np.ndarray):
                self._refuse(path, value, f'has {format_bytes(len(text))} as text')
            elif type(back).__qualname__ != type(value).__qualname__:
                self._arrives(path, value, type(back).__name__)

    def _refuse(self, path: str, value: Any, why: str, remedy: str | None = None) -> None:
        self.culprits.append(f'{path}: {described(value)} {why}. {remedy or remedy_for(path, value)}')

    # --- modules ----------------------------------------------------------------------------------

    def _needs(self, module: str | None, path: str) -> None:
        if module is not None:
            self.modules.setdefault(module, path)

    def look_for_modules(self) -> None:
        """Report modules that a fresh process in this folder does not find, or finds elsewhere."""
        for name, why in missing_modules(self.modules):
            self.culprits.append(f'{self.modules[name]}: {why}')


def _passes_on(value: Any) -> bool:
    """Whether an object looks traced to NNI because it forwards attributes of another."""
    if isinstance(value, type) or inspect.getattr_static(value, 'trace_symbol', None) is not None:
        return False
    try:
        return hasattr(value, 'trace_symbol')
    except Exception:  # noqa: BLE001  __getattr__ may raise anything
        return False


# --- arguments and present attributes -------------------------------------------------------------


def _defaults(function: Any) -> dict[str, Any]:
    parameters: Any = ()
    if isinstance(function, type):
        with contextlib.suppress(ValueError):  # written in C
            parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def _differ(now: Any, before: Any) -> bool:
    """Whether a value was replaced: plain values and containers are compared by value, others by identity."""
    if now is before:
        return False
    if type(now) is type(before) and isinstance(now, (str, int, float, list, tuple, dict, set)):
        with contextlib.suppress(Exception):  # arrays in a container
            return bool(now != before)
    return True


def _look(value: Any) -> str:
    return f'{type(value).__qualname__} {re.sub(" at 0x[0-9a-f]+", "", repr(value))}'


def _warn_of_size(**sent: Any) -> None:
    size = len(nni.dump(sent, pickle_size_limit=pickle_limit()))
    if size > _HEAVY:
        _logger.warning(
            'The parameters of every trial take %s, which slows down NNI and its web page. Most are arguments of traced '
            'objects: read large lists and arrays from files instead.',
            format_bytes(size),
        )
