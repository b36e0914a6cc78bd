"""Checks that space and evaluator can be sent to trial processes unchanged.

NNI sends an object made by `nni.trace` (or `nni_cafenet.traced`) as its constructor call, and anything else pickled, up to
64 KiB. It reports oversized or unpicklable objects only when the first trial starts, one at a time, and changes some
silently. These checks report all of them in advance.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import nni
import numpy as np
import pytorch_lightning as pl
from nni.common.serializer import PayloadTooLarge, get_hybrid_cls_or_func_name
from nni.nas.evaluator.pytorch import Lightning
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from ..errors import SerializationError, first_line
from ..nni_compat import PickledArgument, is_recorded, pickle_limit, remake, remake_part, unpickle_argument
from ..supernet import MinMinModule
from .pickled_size import format_bytes, heaviest, measured

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
        self.culprits.append(f'{path}: {_kind(value)} {why}. {remedy or _remedy(path, value)}')

    # --- modules ----------------------------------------------------------------------------------

    def _needs(self, module: str | None, path: str) -> None:
        if module is not None:
            self.modules.setdefault(module, path)

    def look_for_modules(self) -> None:
        """Report modules that a fresh process in this folder does not find, or finds elsewhere."""
        own = {name: file for name in self.modules for file in [_own_file(name)] if file is not None}
        found = _found_by_trials(tuple(own), os.getcwd(), os.environ.get('PYTHONPATH')) if own else {}
        for name, file in own.items():
            there = found.get(name)
            if there is None or Path(there).resolve() != Path(file).resolve():
                where = 'but do not find it' if there is None else f'but find {there} instead'
                self.culprits.append(
                    f'{self.modules[name]}: trials need the module {name} ({file}) {where}. They start in {os.getcwd()}: '
                    'start the experiment in the folder of the module, or add that folder to PYTHONPATH.'
                )


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


# --- modules in a fresh process -------------------------------------------------------------------


def _own_file(name: str) -> str | None:
    """Return the file of a module; None for Python's own and installed packages."""
    file = getattr(sys.modules.get(name), '__file__', None)
    paths = sysconfig.get_paths()
    installed = [Path(paths[key]) for key in ('stdlib', 'platstdlib', 'purelib', 'platlib')]
    if name == '__main__' or file is None or any(folder in Path(file).parents for folder in installed):
        return None
    return str(file)


_FIND = """
import importlib.util, json, sys
from importlib.machinery import PathFinder

def find(name):  # without running any of the user's code
    first, *rest = name.split('.')
    spec = importlib.util.find_spec(first)
    for part in rest:
        first = f'{first}.{part}'
        if spec is None or spec.submodule_search_locations is None:
            return None
        # Not run, only there: packages without __init__.py look their parents up.
        sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
        spec = PathFinder.find_spec(first, spec.submodule_search_locations)
    return None if spec is None else spec.origin

print(json.dumps({name: find(name) for name in sys.argv[1:]}))
"""


@functools.lru_cache(maxsize=8)
def _found_by_trials(names: tuple[str, ...], folder: str, path: str | None) -> dict[str, str | None]:
    """Return the files of modules as found by a fresh process in a folder."""
    done = subprocess.run(
        [sys.executable, '-c', _FIND, *names], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f'Cannot start a Python process in {folder}:\n{done.stderr}')
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


# --- messages -------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if inspect.isroutine(value) or isinstance(value, type):
        return f'the {"class" if isinstance(value, type) else "function"} {getattr(value, "__qualname__", value)}'
    return f'the {type(value).__name__}'


def _remedy(path: str, value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, MinMinModule):
        return 'Give the original evaluator.'
    if path.startswith('space.example_input'):
        return 'Give its shape, such as (1, 3, 224, 224), or a smaller one.'
    if path == 'space.model' and isinstance(value, nn.Module):
        return (
            'Give WidthMutator().mutate the class or factory function of the model and its arguments; or, to keep its '
            'weights, nni_cafenet.factory_of(model, path).'
        )
    if inspect.isroutine(value) or isinstance(value, type):
        return 'Move it to the top level of a module; captured variables are sent with it.'
    inner = getattr(value, 'dataset', None)
    then = '' if inner is None or is_recorded(inner) else f' {_remedy(path, inner)}'
    if isinstance(value, TensorDataset):
        return 'Store its tensors in a file: nni_cafenet.traced_tensors(*dataset.tensors, path=...).'
    if isinstance(value, Subset):
        return f'Create it from a traced data set: nni_cafenet.traced(random_split)(...) or traced(Subset)(...).{then}'
    if isinstance(value, DataLoader):
        return f'Create it from a traced data set: nni_cafenet.traced(DataLoader)(...) or nni_cafenet.traced(loader).{then}'
    if isinstance(value, (Tensor, np.ndarray)):
        return 'Read it from a file in a traced class or function; for data sets, use nni_cafenet.traced_tensors.'
    if re.match('builtins$|_(?!_main__)', type(value).__module__):  # such as locks and open files
        return 'Create it in the object that takes it, or in a traced function.'
    return f'Create it with nni_cafenet.traced({kind})(...).'
