"""Models and example inputs as a shell gives them: as words."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import pickle
import re
import sys
import traceback
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import ModelSpecError

if TYPE_CHECKING:
    from torch import nn

__all__ = ['InputShape', 'example_of', 'load_model']

_DOTTED = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)*')
_FILES = ('.py', '.pt', '.pth', '.pt2', '.ckpt', '.bin', '.onnx', '.safetensors')
_CODE = "give the code that makes it: 'package.module:factory' or 'model.py:factory'"


def load_model(spec: str, *, unpickle: bool = False) -> nn.Module:
    """
    Make the model that some words name, with fresh weights.

    Parameters
    ----------
    spec
        One of

        - a torchvision name (any of `torchvision.models.list_models()`): ``'resnet50'``;
        - ``'package.module:factory'``: a callable without arguments that returns an `nn.Module`, or an `nn.Module`
          itself; dots may follow the colon too. The working directory is importable, and stays so;
        - ``'path/to/model.py:factory'``: the same in a file, whose folder is importable;
        - a file that `torch.save` made of a whole `nn.Module`, only with `unpickle`.
    unpickle
        Allow such a file. Loading it runs whatever code the file names: only for files that you trust.

    Returns
    -------
    torch.nn.Module
        The model, in the mode and on the device that its maker left it; from a file on the CPU.

    Raises
    ------
    nni_cafenet.errors.ModelSpecError
        If the words name no model, or making it fails. It is a `ValueError`.

    Examples
    --------
    >>> type(load_model('resnet18')).__name__
    'ResNet'
    """
    place, colon, name = spec.rpartition(':')
    if colon and place.endswith('.py'):
        return _made(spec, _found(spec, _run_file(spec, Path(place)), name))
    if colon and _DOTTED.fullmatch(place):
        if not Path(spec).exists() and name[:1] not in ('/', '\\'):  # C:\model.pt is a file
            return _made(spec, _found(spec, _import(spec, place), name))
    elif colon and not _is_file(spec):
        raise _wrong(spec, 'is no name of a model', f"write 'resnet50', or {_CODE}")
    if _is_file(spec):
        return _read_file(spec, unpickle)
    return _torchvision_model(spec)


@dataclass(frozen=True)
class InputShape:
    """
    One input of a model: its sizes, and what it is filled with.

    Parameters
    ----------
    sizes
        The sizes, that of the batch first.
    kind
        `'float'`: seeded normal values, in the floating-point type of the model. `'int64'`: zeros and ones, such as the
        indices of an embedding. `'bool'`: all true, such as a mask.
    """

    sizes: tuple[int, ...]
    kind: str = 'float'

    KINDS = ('float', 'int64', 'bool')

    @classmethod
    def read(cls, words: Sequence[str]) -> InputShape:
        """
        Read the words of a shape: sizes, then perhaps a kind.

        Raises
        ------
        ValueError
            If a word is no size.

        Examples
        --------
        >>> InputShape.read(['1', '3', '224', '224'])
        InputShape(sizes=(1, 3, 224, 224), kind='float')
        >>> InputShape.read(['1', '128', 'int64']).kind
        'int64'
        """
        *sizes, last = words
        kind = last if last in cls.KINDS else 'float'
        sizes = sizes if last in cls.KINDS else list(words)
        for word in sizes:
            if not (word.isascii() and word.isdigit() and int(word) > 0):
                raise ValueError(
                    f'--input {" ".join(words)}: {word!r} is no size. Write the sizes apart, the batch first, such as '
                    f'--input 1 3 224 224; {" or ".join(cls.KINDS[1:])} may follow. The model comes before --input.'
                )
        if not sizes:
            raise ValueError(f'--input {last}: the sizes are missing, such as --input 1 128 {last}')
        return cls(tuple(int(word) for word in sizes), kind)

    def __str__(self) -> str:
        return f'{self.sizes}' if self.kind == 'float' else f'{self.sizes} {self.kind}'


def example_of(shapes: Sequence[InputShape], model: nn.Module) -> tuple[Any, ...]:
    """
    Make the positional arguments of a call of a model.

    Parameters
    ----------
    shapes
        One a positional argument.
    model
        Gives the device, and the type of floating-point values.

    Returns
    -------
    tuple of torch.Tensor
        The same at every call.
    """
    import torch

    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    make = {
        'float': lambda sizes: torch.randn(sizes, generator=generator).to(parameter.dtype),
        'int64': lambda sizes: torch.randint(0, 2, sizes, generator=generator),
        'bool': lambda sizes: torch.ones(sizes, dtype=torch.bool),
    }
    return tuple(make[shape.kind](shape.sizes).to(parameter.device) for shape in shapes)


# --- modules and files of code --------------------------------------------------------------------


def _import(spec: str, name: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f'{name}.'.startswith(f'{error.name}.'):
            raise _wrong(
                spec,
                f'there is no module {error.name!r}',
                f'install it, or run the command in the folder that holds it (now {Path.cwd()})',
            ) from error
        raise _failed(spec, f'importing {name}', error) from error
    except (Exception, SystemExit) as error:
        raise _failed(spec, f'importing {name}', error) from error


def _run_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise _no_file(spec, path)
    _make_importable(Path.cwd())
    _make_importable(path.resolve().parent)
    name = path.stem
    if name in sys.modules and not _is_of(sys.modules[name], path):
        name = f'{name}_of_the_model'
    description = importlib.util.spec_from_file_location(name, path)
    if description is None or description.loader is None:
        raise _wrong(spec, f'{path} cannot be imported', _CODE)
    module = importlib.util.module_from_spec(description)
    sys.modules[name] = module
    try:
        description.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(spec, f'running {path}', error) from error
    return module


def _is_of(module: ModuleType, path: Path) -> bool:
    home = getattr(module, '__file__', None)
    return home is not None and Path(home).resolve() == path.resolve()


def _make_importable(folder: Path) -> None:
    """Put a folder first in the path, for good: a forward may import more."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _found(spec: str, module: ModuleType, name: str) -> Any:
    if not name:
        raise _wrong(spec, 'names no factory', f'write one behind the colon: {_some_of(_factories(module))}')
    found: Any = module
    for part in name.split('.'):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=3)
            remedy = f'did you mean {_some_of(near)}?' if near else f'it has {_some_of(_factories(found))}'
            holder = found.__name__ if found is module else f'{module.__name__}:{name.rpartition(f".{part}")[0]}'
            raise _wrong(spec, f'{holder} has no {part!r}', remedy)
        found = getattr(found, part)
    return found


def _factories(module: Any) -> list[str]:
    """What a module defines itself that may make a model."""
    own = getattr(module, '__name__', None)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith('_') and callable(value) and getattr(value, '__module__', None) == own
    ]


def _made(spec: str, found: Any) -> nn.Module:
    from torch import nn

    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise _wrong(spec, f'is a {type(found).__name__}', 'name a torch.nn.Module, or a function that returns one')
    missing = _required(found)
    if missing:
        raise _wrong(
            spec,
            f'needs arguments ({", ".join(missing)})',
            'name a function without arguments that calls it, such as: def small(): return Net(10)',
        )
    try:
        made = found()
    except (Exception, SystemExit) as error:
        raise _failed(spec, 'calling it', error) from error
    if not isinstance(made, nn.Module):
        raise _wrong(spec, f'returned a {type(made).__name__}', 'it must return a torch.nn.Module')
    return made


def _required(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have no signature
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


# --- torchvision ----------------------------------------------------------------------------------


def _torchvision_model(spec: str) -> nn.Module:
    from torchvision import models

    name = spec.lower()
    known = models.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        remedy = (
            f'did you mean {_some_of(near)}?' if near else f'list them by torchvision.models.list_models(), or {_CODE}'
        )
        if _DOTTED.fullmatch(spec) and '.' in spec:
            module, _, attribute = spec.rpartition('.')
            remedy = f"for a factory of your own put a colon before its name: '{module}:{attribute}'"
        raise _wrong(spec, 'is no model of torchvision', remedy)
    builder = models.get_model_builder(name)
    # No weights, so that nothing is downloaded: detection and segmentation would fetch those of their backbones.
    options: dict[str, Any] = {
        option: None for option in inspect.signature(builder).parameters if option in ('weights', 'weights_backbone')
    }
    if name.endswith(('googlenet', 'inception_v3')):
        options['init_weights'] = False  # their own takes most of a minute
    model: nn.Module = builder(**options)
    return model


# --- saved models ---------------------------------------------------------------------------------


def _is_file(spec: str) -> bool:
    return os.sep in spec or '/' in spec or spec.lower().endswith(_FILES) or Path(spec).is_file()


def _read_file(spec: str, unpickle: bool) -> nn.Module:
    path = Path(spec)
    if not path.is_file():
        raise _no_file(spec, path)
    if path.suffix == '.py':
        raise _wrong(spec, 'names no factory', f"write '{spec}:FACTORY', a function in it that returns the model")
    kind = _kind_of(path)
    if kind == 'exported program':
        raise _wrong(
            spec, 'holds a graph that torch.export made for fixed widths, not the modules of a model', f'{_CODE}'
        )
    if kind == 'TorchScript':
        raise _wrong(spec, 'holds a TorchScript program, which torch.export does not read', _CODE)
    if kind != 'pickle':
        raise _wrong(spec, 'is no file that torch.save made', _CODE)
    return _unpickled(spec, path, unpickle)


def _kind_of(path: Path) -> str | None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if path.suffix == '.pt2' or any(
            n.endswith(('serialized_exported_program.json', 'archive_format')) for n in names
        ):
            return 'exported program'
        if any('/code/' in n for n in names):
            return 'TorchScript'
        return 'pickle' if any(n.endswith('data.pkl') for n in names) else None
    with path.open('rb') as file:
        return 'pickle' if file.read(1) == b'\x80' else None


def _unpickled(spec: str, path: Path, unpickle: bool) -> nn.Module:
    import torch
    from torch import nn

    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if not unpickle:
            raise _wrong(
                spec,
                'holds pickled objects, and loading them runs whatever code they name',
                f'if you trust where it comes from, add --unpickle (in Python: unpickle=True); else {_CODE}',
            ) from error
        _make_importable(Path.cwd())
        try:
            found = torch.load(path, map_location='cpu', weights_only=False)
        except Exception as failure:
            raise _failed(spec, 'loading it (the code of its classes must be importable)', failure) from failure
    except (RuntimeError, EOFError, OSError) as error:
        raise _failed(spec, 'reading it', error) from error
    if isinstance(found, nn.Module):
        return found
    what = f'a {type(found).__name__}'
    if isinstance(found, dict) and found and all(isinstance(value, torch.Tensor) for value in found.values()):
        what = f'{len(found)} tensors by name (a state_dict)'
    raise _wrong(spec, f'holds {what}, not a model', _CODE)


# --- errors ---------------------------------------------------------------------------------------


def _wrong(spec: str, what: str, remedy: str) -> ModelSpecError:
    return ModelSpecError(f'model {spec!r}: {what}; {remedy}')


def _no_file(spec: str, path: Path) -> ModelSpecError:
    return _wrong(spec, f'there is no file {path}', f'check the path; it counts from {Path.cwd()}')


def _failed(spec: str, doing: str, error: BaseException) -> ModelSpecError:
    """Somebody else's code raised: say what and where."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith('<')]
    where = f' ({frames[-1].filename}, line {frames[-1].lineno})' if frames else ''
    if isinstance(error, SyntaxError) and error.filename:
        where = f' ({error.filename}, line {error.lineno})'
    remedy = ''
    if isinstance(error, ImportError) and 'relative import' in str(error):
        remedy = "; a file with relative imports belongs to a package: write 'package.module:factory'"
    text = str(error) or 'no message'
    return ModelSpecError(f'model {spec!r}: {doing} raised {type(error).__name__}: {text}{where}{remedy}')


def _some_of(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    shown = ', '.join(repr(name) for name in names[:most])
    return (f'{shown} and {len(names) - most} more' if len(names) > most else shown) or 'nothing that makes a model'
