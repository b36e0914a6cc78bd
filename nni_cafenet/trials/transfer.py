"""What can be sent to trial processes, and what would arrive there as something else.

NNI sends an object that was made by `nni.trace` (or `nni_cafenet.traced`) as the call that made it, and anything else
pickled, up to 64 KiB. What is too large or cannot be pickled shows only when the first trial is sent, one thing at a
time, and some things arrive changed without a word. Here all of it is looked at before.
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
"""Bytes that nni.trace allows for the code of what made an object."""
_COMPRESSED = 64
"""Kept arguments are compressed: up to so many times the limit it is worth a try."""
_HEAVY = 2**20
"""Bytes of all parameters of a trial above which NNI's web page gets slow."""
_KEEPS = 'Make what takes it by nni_cafenet.traced in place of nni.trace: that keeps it as it is.'


def check_serializable(space: Any, evaluator: Any, **others: Any) -> None:
    """Refuse what cannot be sent to NNI's trial processes, before the first one starts.

    Parameters
    ----------
    space
        A `WidthSpace`, or another model space of NNI.
    evaluator
        Any evaluator of NNI.
    others
        Whatever else is sent, by the names that messages call it.

    Raises
    ------
    nni_cafenet.errors.SerializationError
        A ``TypeError`` that lists everything that cannot be sent, with its path such as
        ``evaluator.train_dataloaders.dataset``, its type and size, and what to do about it.

    Notes
    -----
    Logged as a warning: what arrives changed (in arguments of `nni.trace`, tuples become lists and keys strings), what was
    set on a traced object after it was made and is not sent at all, and parameters of more than 1 MiB in all.

    What cannot be seen here: a class that was made by `nni.trace` draws other random numbers in every trial where it draws
    any while it is made (`nni_cafenet.traced` draws the same); another machine may have other files, packages or another
    version of Python, for which lambdas and classes of the user's own script are no good; pretrained ``weights=`` are
    sent by name, and loaded or downloaded on every machine; callbacks that are appended to a trainer are not sent.
    """
    journey = _Journey()
    for name, value in {'space': space, 'evaluator': evaluator, **others}.items():
        journey.look_at(name, value)
    journey.look_for_modules()
    if journey.culprits:
        lines = [f'\n  {culprit}' for culprit in journey.culprits]
        raise SerializationError(
            f'{len(lines)} thing{"s" if len(lines) > 1 else ""} cannot be sent to trial processes. What was made by '
            f'nni_cafenet.traced or nni.trace is sent as the call that made it, anything else pickled, up to '
            f'{pickle_limit()} bytes (or what the environment variable PICKLE_SIZE_LIMIT says).{"".join(lines)}'
        )
    for note in journey.notes:
        _logger.warning('%s', note)
    _warn_of_size(space=space, evaluator=evaluator, **others)


@dataclass
class _Journey:
    """What is found on the way through the arguments of space and evaluator."""

    culprits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    """``{name of a module: path of the first thing that needs it}``."""

    def look_at(self, path: str, value: Any) -> None:
        """Look at a value and at what it is made of."""
        if isinstance(value, PickledArgument):
            self._pickled(path, value.value, kept=True)
        elif isinstance(value, MinMinModule):
            self._refuse(path, value, 'is what CafeNet has made of a module')
        elif is_recorded(value):
            self._recorded(path, value)
        elif _passes_on(value):
            self._refuse(
                path, value, 'hands out how the object was made that it wraps, which would be sent in its place'
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

    # --- what is sent as the call that made it ----------------------------------------------------

    def _recorded(self, path: str, value: Any) -> None:
        symbol, args = value.trace_symbol, list(value.trace_args)
        if symbol is remake_part:
            args.pop(0)
        if symbol in (remake, remake_part):
            symbol, _, *args = args  # what was called, and the seed
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
        """Look at the class or function that `nni.trace` sends."""
        try:
            name = get_hybrid_cls_or_func_name(symbol, _SYMBOL)
        except ValueError:
            self.culprits.append(
                f'{path}: {symbol.__qualname__} belongs to the script itself, so its code is sent, '
                f'{format_bytes(len(cloudpickle.dumps(symbol)))}, of which nni.trace sends at most {_SYMBOL} bytes. Use '
                'nni_cafenet.traced in place of nni.trace, or move it into a module.'
            )
        else:
            self._needs(symbol.__module__ if name.startswith('path:') else None, path)

    def _replaced(self, path: str, evaluator: Any) -> None:
        """Refuse what was replaced in an evaluator."""
        given = {'train_dataloaders': evaluator.trace_kwargs.get('train_dataloader'), **evaluator.trace_kwargs}
        names = {name: name for name in ('train_dataloaders', 'val_dataloaders', 'datamodule')}
        if 'lightning_module' in given:  # Classification and Regression make their own
            names.update(module='lightning_module', trainer='trainer')
        for name, argument in names.items():
            if _differ(vars(evaluator)[name], given.get(argument)):
                self.culprits.append(
                    f'{path}.{name}: it was replaced after the evaluator was made, but trials get what the evaluator was '
                    'made with. Make a new evaluator.'
                )

    def _changed(self, path: str, value: Any, symbol: Any) -> None:
        """Note what was set on an object after it was made."""
        now = vars(value)
        given = {
            **_defaults(symbol),
            **{name: unpickle_argument(argument) for name, argument in value.trace_kwargs.items()},
        }
        names = [name for name, before in given.items() if name in now and _differ(now[name], before)]
        if not names:
            return
        try:
            again = vars(value.trace_copy().get())  # the constructor itself may keep something else than it was given
        except Exception as error:  # noqa: BLE001  whatever a class of the user raises
            self._refuse(path, value, f'cannot be made again ({type(error).__name__}: {first_line(error)})')
            return
        for name in names:
            if name in again and _differ(now[name], again[name]) and _look(now[name]) != _look(again[name]):
                self.notes.append(
                    f'{path}.{name} was set after the {type(value).__name__} was made, and is not sent to trials. Give '
                    'it to the constructor, or make the object in a function and trace that by nni_cafenet.traced.'
                )

    # --- what is pickled --------------------------------------------------------------------------

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
        except Exception as error:  # noqa: BLE001  whatever a class of the user raises
            if isinstance(error, PayloadTooLarge) or 'Pickle too large' in str(error):  # of a class or function
                self._refuse(path, value, f'has {measure}{heaviest(path, value, kept)}')
            elif 'could not be encoded' in str(error):
                self._refuse(path, value, 'has no form in what NNI sends', _KEEPS)
            else:
                self._refuse(path, value, f'fails on the way ({type(error).__name__}: {first_line(error)})')
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
        """Refuse modules that a fresh process, started in this folder as trials are, does not find or finds elsewhere."""
        own = {name: file for name in self.modules for file in [_own_file(name)] if file is not None}
        found = _found_by_trials(tuple(own), os.getcwd(), os.environ.get('PYTHONPATH')) if own else {}
        for name, file in own.items():
            there = found.get(name)
            if there is None or Path(there).resolve() != Path(file).resolve():
                where = 'which they do not find' if there is None else f'but find another one, {there}'
                self.culprits.append(
                    f'{self.modules[name]}: trials need the module {name} ({file}), {where}. They start in {os.getcwd()}: '
                    'start the experiment in the folder of the module, or put that folder into PYTHONPATH.'
                )


def _passes_on(value: Any) -> bool:
    """Whether NNI takes an object for a traced one because it hands on the attributes of another."""
    if isinstance(value, type) or inspect.getattr_static(value, 'trace_symbol', None) is not None:
        return False
    try:
        return hasattr(value, 'trace_symbol')
    except Exception:  # noqa: BLE001  whatever a __getattr__ raises
        return False


# --- what was given, and what is there now --------------------------------------------------------


def _defaults(function: Any) -> dict[str, Any]:
    parameters: Any = ()
    if isinstance(function, type):
        with contextlib.suppress(ValueError):  # written in C
            parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def _differ(now: Any, before: Any) -> bool:
    """Whether something else is there; plain values and containers are compared, other objects must be the same."""
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
            'The parameters of every trial have %s, which slows NNI and its web page down. Most of it are arguments of '
            'traced objects: large lists and arrays are better read from files.',
            format_bytes(size),
        )


# --- what a fresh process finds -------------------------------------------------------------------


def _own_file(name: str) -> str | None:
    """Return the file of a module, unless it belongs to Python or to an installed package."""
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
    """Return where a fresh process, started in a folder, finds modules."""
    done = subprocess.run(
        [sys.executable, '-c', _FIND, *names], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f'A Python process cannot be started in {folder}:\n{done.stderr}')
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


# --- words ----------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if inspect.isroutine(value) or isinstance(value, type):
        return f'the {"class" if isinstance(value, type) else "function"} {getattr(value, "__qualname__", value)}'
    return f'the {type(value).__name__}'


def _remedy(path: str, value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, MinMinModule):
        return 'Give the evaluator as you made it.'
    if path.startswith('space.example_input'):
        return 'Give its shape, such as (1, 3, 224, 224), or a smaller one.'
    if path == 'space.model' and isinstance(value, nn.Module):
        return (
            'Give WidthMutator().mutate what makes the model, its class or a function, and the arguments; or, to keep '
            'its weights, nni_cafenet.factory_of(model, path).'
        )
    if inspect.isroutine(value) or isinstance(value, type):
        return 'Move it to the top of a module; what it refers to outside of itself is sent along with it.'
    inner = getattr(value, 'dataset', None)
    then = '' if inner is None or is_recorded(inner) else f' {_remedy(path, inner)}'
    if isinstance(value, TensorDataset):
        return 'Keep its tensors in a file: nni_cafenet.traced_tensors(*dataset.tensors, path=...).'
    if isinstance(value, Subset):
        return f'Cut it out of a traced data set by nni_cafenet.traced(random_split)(...) or traced(Subset)(...).{then}'
    if isinstance(value, DataLoader):
        return (
            f'Make it by nni_cafenet.traced(DataLoader)(...) or nni_cafenet.traced(loader), of a traced data set.{then}'
        )
    if isinstance(value, (Tensor, np.ndarray)):
        return (
            'Read it from a file inside a traced class or function; nni_cafenet.traced_tensors does so for data sets.'
        )
    if re.match('builtins$|_(?!_main__)', type(value).__module__):  # such as locks and open files
        return 'Let what takes it make it, or make it in a traced function.'
    return f'Make it by nni_cafenet.traced({kind})(...).'
