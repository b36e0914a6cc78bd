"""Models and example inputs named on the command line."""

from __future__ import annotations

import difflib
import importlib
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelSpecError
from .code_names import CodeName, is_dotted, make_importable, required_arguments, some_of, taken_arguments

if TYPE_CHECKING:
    from torch import nn

__all__ = ['check_model_name', 'load_model', 'takes_argument', 'torchvision_name']

_FILES = ('.py', '.pt', '.pth', '.pt2', '.ckpt', '.bin', '.onnx', '.safetensors')
_CODE = "give the code that creates it: 'package.module:factory' or 'model.py:factory'"


def load_model(spec: str, *, arguments: Mapping[str, Any] | None = None, unpickle: bool = False) -> nn.Module:
    """Make the model of a name, with fresh weights, in the mode and on the device of its factory.

    Parameters
    ----------
    spec
        One of

        - a torchvision name (any of `torchvision.models.list_models()`): ``'resnet50'`` or
          ``'torchvision.models:resnet50'``;
        - ``'package.module:factory'`` or ``'path/to/model.py:factory'``: a callable that returns an `nn.Module`, or an
          `nn.Module` itself (see `CodeName`);
        - a file that `torch.save` made of a whole `nn.Module`, loaded on the CPU, only with `unpickle`.
    arguments
        Keyword arguments of the factory, such as ``{'num_classes': 10}``.
    unpickle
        Allow such a file. Loading it runs whatever code the file names: only for files that you trust.

    Raises
    ------
    nni_cafenet.errors.ModelSpecError
        If the name is that of no model, or making it fails.

    Examples
    --------
    >>> type(load_model('resnet18', arguments={'num_classes': 10})).__name__
    'ResNet'
    """
    arguments = dict(arguments or {})
    name = _name(spec)
    if name.is_one:
        if torchvision_name(spec) is not None:
            return _torchvision_model(spec, arguments)
        return _made(name, name.find(), arguments)
    if ':' in spec and not is_dotted(spec.rpartition(':')[0]) and not _is_file(spec):
        raise name.wrong('is not a name of a model', f"write 'resnet50', or {_CODE}")
    if _is_file(spec):
        if arguments:
            raise name.wrong(f'is a file, which takes no arguments ({", ".join(arguments)})', _CODE)
        return _read_file(name, unpickle)
    return _torchvision_model(spec, arguments)


def torchvision_name(spec: str) -> str | None:
    """Return the name under which torchvision lists a model; None if it is not one of its models.

    >>> torchvision_name('torchvision.models:resnet18'), torchvision_name('ResNet18'), torchvision_name('net.py:small')
    ('resnet18', 'resnet18', None)
    """
    from torchvision import models

    place, _, attribute = spec.rpartition(':')
    if not place:
        return spec.lower() if spec.lower() in models.list_models() else None
    if place.split('.')[:2] != ['torchvision', 'models']:
        return None
    try:
        found = getattr(importlib.import_module(place), attribute, None)
    except ImportError:
        return None
    return next((str(name) for name in models.list_models() if models.get_model_builder(name) is found), None)


def check_model_name(spec: str) -> None:
    """Raise ModelSpecError, as `load_model` does, for a name of no model, without making one."""
    name = _name(spec)
    if torchvision_name(spec) is not None:
        return
    if name.is_one:
        name.find()
    elif not _is_file(spec):
        load_model(spec)
    elif not Path(spec).is_file():
        raise name.no_file(Path(spec))


def takes_argument(spec: str, argument: str) -> bool:
    """Whether a named factory takes a keyword argument; those of torchvision all take ``num_classes``."""
    if torchvision_name(spec) is not None:
        return argument == 'num_classes'
    name = _name(spec)
    return name.is_one and argument in taken_arguments(name.find())[0]


# --- code -----------------------------------------------------------------------------------------


def _name(spec: str) -> CodeName:
    return CodeName(spec, 'model', ModelSpecError)


def _made(name: CodeName, found: Any, arguments: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    if isinstance(found, nn.Module):
        if arguments:
            raise name.wrong(f'is a model, which takes no arguments ({", ".join(arguments)})', 'name its factory')
        return found
    if not callable(found):
        raise name.wrong(f'is a {type(found).__name__}', 'name a torch.nn.Module, or a function that returns one')
    _check_arguments(name, found, arguments)
    try:
        made = found(**arguments)
    except (Exception, SystemExit) as error:
        raise name.failed('calling it', error) from error
    if not isinstance(made, nn.Module):
        raise name.wrong(f'returned a {type(made).__name__}', 'it must return a torch.nn.Module')
    return made


def _check_arguments(name: CodeName, factory: Any, arguments: Mapping[str, Any]) -> None:
    taken, takes_any = taken_arguments(factory)
    unknown = [argument for argument in arguments if argument not in taken]
    if taken and unknown and not takes_any:
        near = difflib.get_close_matches(unknown[0], taken, n=3)
        remedy = f'did you mean {some_of(near)}?' if near else f'it takes {some_of(sorted(taken))}'
        raise name.wrong(f'takes no argument {unknown[0]!r}', remedy)
    missing = [argument for argument in required_arguments(factory) if argument not in arguments]
    if missing:
        raise name.wrong(
            f'needs arguments ({", ".join(missing)})',
            'name a function without arguments that calls it, such as: def small(): return Net(10); or give them by '
            f'--model-args {missing[0]}=...',
        )


# --- torchvision ----------------------------------------------------------------------------------


def _torchvision_model(spec: str, arguments: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    name = torchvision_name(spec)
    if name is None:
        raise _unknown(spec, models.list_models())
    builder = models.get_model_builder(name)
    # No weights, so that nothing is downloaded, such as backbones of detection and segmentation models.
    options: dict[str, Any] = {
        option: None for option in taken_arguments(builder)[0] if option in ('weights', 'weights_backbone')
    }
    if name.endswith(('googlenet', 'inception_v3')):
        options['init_weights'] = False  # their own initialization takes most of a minute
    try:
        model: nn.Module = builder(**{**options, **arguments})
    except (TypeError, ValueError) as error:
        raise _name(spec).failed('calling it', error) from error
    return model


def _unknown(spec: str, known: Sequence[str]) -> Exception:
    near = difflib.get_close_matches(spec.lower(), known, n=3)
    remedy = f'did you mean {some_of(near)}?' if near else f'list them by torchvision.models.list_models(), or {_CODE}'
    if is_dotted(spec) and '.' in spec:
        module, _, attribute = spec.rpartition('.')
        remedy = f"for your own factory put a colon before its name: '{module}:{attribute}'"
    return _name(spec).wrong('is not a model of torchvision', remedy)


# --- saved models ---------------------------------------------------------------------------------


def _is_file(spec: str) -> bool:
    return os.sep in spec or '/' in spec or spec.lower().endswith(_FILES) or Path(spec).is_file()


def _read_file(name: CodeName, unpickle: bool) -> nn.Module:
    path = Path(name.spec)
    if not path.is_file():
        raise name.no_file(path)
    if path.suffix == '.py':
        raise name.wrong('names no factory', f"write '{name.spec}:FACTORY', a function in it that returns the model")
    kind = _kind_of(path)
    if kind == 'exported program':
        raise name.wrong('contains a graph of torch.export with fixed widths, not the modules of a model', f'{_CODE}')
    if kind == 'TorchScript':
        raise name.wrong('contains a TorchScript program, which torch.export does not read', _CODE)
    if kind != 'pickle':
        raise name.wrong('is not a file of torch.save', _CODE)
    return _unpickled(name, path, unpickle)


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


def _unpickled(name: CodeName, path: Path, unpickle: bool) -> nn.Module:
    import torch
    from torch import nn

    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if not unpickle:
            raise name.wrong(
                'contains pickled objects, and loading them runs the code that they name',
                f'if you trust its source, add --unpickle (in Python: unpickle=True); else {_CODE}',
            ) from error
        make_importable(Path.cwd())
        try:
            found = torch.load(path, map_location='cpu', weights_only=False)
        except Exception as failure:
            raise name.failed('loading it (the code of its classes must be importable)', failure) from failure
    except (RuntimeError, EOFError, OSError) as error:
        raise name.failed('reading it', error) from error
    if isinstance(found, nn.Module):
        return found
    what = f'a {type(found).__name__}'
    if isinstance(found, dict) and found and all(isinstance(value, torch.Tensor) for value in found.values()):
        what = f'{len(found)} tensors by name (a state_dict)'
    raise name.wrong(f'holds {what}, not a model', _CODE)
