"""A slim model on disk: ``widths.json`` and ``slim.pt``, loaded by a function that needs torch alone.

This file imports nothing of the package, so that it can be copied next to a model that is deployed.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Union

import torch
from torch import nn

__all__ = ['load_slim', 'save_slim']

PathLike = Union[str, 'os.PathLike[str]']

_SIZES = (
    'in_channels',
    'out_channels',
    'groups',
    'in_features',
    'out_features',
    'num_features',
    'num_channels',
    'num_groups',
    'normalized_shape',
    'num_embeddings',
    'embedding_dim',
)


def save_slim(slim: nn.Module, path: PathLike, widths: Mapping[str, int], **facts: Any) -> None:
    """Write a slim model into a folder.

    ``slim.pt`` holds its ``state_dict``; ``widths.json`` holds the widths, ``facts``, and the whole numbers that its
    modules keep as attributes (``groups``, ``embed_dim``), some of which follow the widths: all that is needed to rebuild
    it from the full model's factory.

    Parameters
    ----------
    slim
        The slim model.
    path
        The folder; it is made if need be. Files in it are replaced only once the new ones are complete.
    widths
        ``{label: channels}``.
    facts
        Further entries of ``widths.json``, such as ``macs=...``.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    modules = {}
    for name, module in slim.named_modules():
        sizes = {key: getattr(module, key) for key in _SIZES if isinstance(getattr(module, key, None), (int, tuple))}
        sizes.update((key, value) for key, value in vars(module).items() if _is_number(value))
        if sizes:
            modules[name] = sizes
    record = {'format': 1, 'widths': dict(widths), **facts, 'modules': modules}
    _replace(folder / 'slim.pt', lambda file: _save(slim.state_dict(), file))
    _replace(folder / 'widths.json', lambda file: file.write_text(json.dumps(record, indent=2) + '\n'))


def load_slim(factory: Callable[[], nn.Module] | nn.Module, path: PathLike, *, weights: bool = True) -> nn.Module:
    """Rebuild a slim model.

    Parameters
    ----------
    factory
        Makes the full model, or is one (which is then changed).
    path
        The folder that `save_slim` wrote.
    weights
        Load the slim weights; without, the parameters are left uninitialised.

    Returns
    -------
    The slim model, on the CPU: plain modules of the model's own classes.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the two files.
    ValueError
        If a file is damaged, or they belong to another model; the message lists what differs.
    """
    folder = Path(path)
    for name in ('widths.json', 'slim.pt'):
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} holds no {name}: give the folder that save_slim wrote.')
    record = _read(folder / 'widths.json', lambda file: json.loads(file.read_text()))
    state = _read(folder / 'slim.pt', lambda file: torch.load(file, map_location='cpu', weights_only=True))
    model = factory if isinstance(factory, nn.Module) else factory()
    _check_same_model(model, state, record['modules'], folder)
    for name, sizes in record['modules'].items():
        module = model.get_submodule(name)
        for key, value in sizes.items():
            kind = list if type(getattr(module, key, None)) is list else tuple
            setattr(module, key, kind(value) if isinstance(value, list) else value)
    for tensors in ('_parameters', '_buffers'):
        _resize(model, state, tensors)
    if weights:
        model.load_state_dict(state)
    return model


def _read(file: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(file)
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f'{file} is damaged ({type(error).__name__}): copy it again, or make it again.') from error


def _is_number(value: Any) -> bool:
    """Whether a value is a whole number, or a tuple or list of them."""
    return type(value) is int or (type(value) in (tuple, list) and {type(number) for number in value} == {int})


def _resize(model: nn.Module, state: Mapping[str, torch.Tensor], tensors: str) -> None:
    """Replace the parameters or buffers of a model that have other shapes in a state; tied ones stay tied."""
    made: dict[int, tuple[Any, Any]] = {}  # by the id of what was replaced, which is kept alive beside it
    for path, module in list(model.named_modules()):
        own = getattr(module, tensors)
        for leaf, tensor in own.items():
            name = f'{path}.{leaf}' if path else leaf
            if tensor is None or name not in state or tensor.shape == state[name].shape:
                continue
            if id(tensor) not in made:
                smaller = torch.empty(state[name].shape, dtype=tensor.dtype)
                if isinstance(tensor, nn.Parameter):
                    smaller = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
                made[id(tensor)] = (tensor, smaller)
            own[leaf] = made[id(tensor)][1]


def _check_same_model(
    model: nn.Module, state: Mapping[str, torch.Tensor], modules: Mapping[str, Any], folder: Path
) -> None:
    own = model.state_dict()
    names = {name for name, _ in model.named_modules()}
    problems = [f'{name} is only in the model' for name in own if name not in state]
    problems += [f'{name} is only in the files' for name in state if name not in own]
    problems += [f'{name} has no module in the model' for name in modules if name not in names]
    for name in own:
        if name in state:
            full, small = tuple(own[name].shape), tuple(state[name].shape)
            if len(full) != len(small) or any(s > f for f, s in zip(full, small)):
                problems.append(f'{name} is {small} in the files and {full} in the model')
    if problems:
        more = f' and {len(problems) - 5} more' if len(problems) > 5 else ''
        raise ValueError(
            f'The widths in {folder} are of another model than {type(model).__name__}: {"; ".join(problems[:5])}{more}. '
            'Give the factory (and its arguments) of the model that was slimmed.'
        )


def _save(state: Mapping[str, torch.Tensor], file: Path) -> None:
    with file.open('wb') as opened:  # given a path, torch does not say that the disk is full
        torch.save(state, opened)


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name, then rename it."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
