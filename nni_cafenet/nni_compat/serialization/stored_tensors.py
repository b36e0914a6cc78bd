"""Files for tensors in memory and trained models, from which trial processes read them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ...errors import first_line
from ...utils import absolute_path, load_torch, require_signature, save_torch, signature
from .constructor_record import traced

__all__ = ['SavedModel', 'StoredTensors', 'factory_of', 'traced_tensors']


_PURPOSE = 'model'


class StoredTensors(TensorDataset):
    """A ``TensorDataset`` of the tensors in a file that `traced_tensors` wrote, memory-mapped.

    Raises ValueError if the file holds something else than ``content``, as `traced_tensors` recorded it; None:
    anything.
    """

    def __init__(self, path: str, content: str | None = None) -> None:
        super().__init__(*_read(path, content, mmap=True)['tensors'])


def traced_tensors(*tensors: Any, path: str | os.PathLike[str]) -> StoredTensors:
    """Make a ``TensorDataset`` that can be sent to trial processes, with its tensors in a file.

    Parameters
    ----------
    tensors
        Tensors or arrays of one length, such as ``x, y``, or ``*dataset.tensors``.
    path
        The file, which every trial must be able to read. It is written now, unless it contains these tensors already.

    Returns
    -------
    The data set, traced. A trial rejects a file whose content has changed.

    Raises
    ------
    ValueError
        If there is no tensor, or the lengths differ.

    Examples
    --------
    >>> loader = traced(DataLoader)(traced_tensors(x, y, path='data.pt'), batch_size=64, shuffle=True)
    """
    made = [torch.as_tensor(tensor).detach().cpu() for tensor in tensors]
    lengths = [len(tensor) if tensor.dim() else None for tensor in made]
    if not made or None in lengths or len(set(lengths)) > 1:
        raise ValueError(f'traced_tensors() takes one tensor or several of one length; got lengths {lengths}.')
    content = _digest(enumerate(made))
    file = os.fspath(absolute_path(path))
    # Copies, since torch would save the whole storage of a slice.
    if not _holds(file, content):
        copies = [tensor.clone(memory_format=torch.contiguous_format) for tensor in made]
        save_torch({'content': content, 'tensors': copies}, file)
    return traced(StoredTensors)(file, content)


class SavedModel:
    """A factory that makes a model as it was when `factory_of` saved it, weights included.

    The file must hold ``content``, as `factory_of` recorded it; None: anything.
    """

    makes_trained_models = True
    """Its weights are trained: for training from scratch `WidthSpace` resets the modules instead."""

    def __init__(self, path: str, content: str | None = None) -> None:
        self.path = path
        self.content = content

    def __call__(self) -> nn.Module:
        """Make the model. This runs code that the file names, so the file must be signed with the user's key."""
        found = _read(self.path, self.content)
        pickled = found['model']
        require_signature(found.get('signature'), pickled, _PURPOSE, file=self.path, remedy='call factory_of() again')
        model: nn.Module = cloudpickle.loads(pickled)
        return model

    def __repr__(self) -> str:
        return f'SavedModel({self.path!r})'


def factory_of(model: nn.Module, path: str | os.PathLike[str]) -> SavedModel:
    """Make a factory of a live model, so that a space of it can be sent to trial processes.

    Parameters
    ----------
    model
        The model, perhaps trained. It is pickled with its weights, and with classes of the main script.
    path
        The file, which every trial must be able to read. It is written now.

    Returns
    -------
    A factory for `WidthMutator.mutate`. A trial rejects a file whose content has changed.

    Raises
    ------
    TypeError
        If it is not a module, or cannot be pickled.

    Examples
    --------
    >>> space = WidthMutator().mutate(factory_of(model, 'model.pt'), example_input=(1, 3, 224, 224))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'factory_of() takes a torch.nn.Module, not {type(model).__name__}.')
    try:
        pickled = cloudpickle.dumps(model)
    except Exception as error:  # parts of the model may raise anything
        raise TypeError(
            f'The {type(model).__name__} cannot be pickled ({first_line(error)}). Write a function that makes it and loads '
            'its state_dict, and give WidthMutator().mutate that function.'
        ) from error
    weights = [(name, value) for name, value in model.state_dict().items() if isinstance(value, Tensor)]
    content = _digest(weights, type(model).__qualname__, str(model))
    file = os.fspath(absolute_path(path))
    save_torch({'content': content, 'model': pickled, 'signature': signature(pickled, _PURPOSE)}, file)
    return SavedModel(file, content)


def _digest(tensors: Iterable[tuple[Any, Tensor]], *words: str) -> str:
    """Return a hash of the values of named tensors."""
    digest = hashlib.sha256('\n'.join(words).encode())
    for name, tensor in tensors:
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _holds(path: str, content: str) -> bool:
    try:
        return bool(load_torch(path, remedy='', mmap=True)['content'] == content)
    except Exception:  # noqa: BLE001  another file, or none
        return False


def _read(path: str, content: str | None, **options: Any) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'There is no file {path}, in which traced_tensors() or factory_of() left what is needed here. Give them a '
            'path that every machine of the experiment can read.'
        )
    remedy = 'call traced_tensors() or factory_of() again'
    found: dict[str, Any] = load_torch(path, remedy=remedy, **options)
    if content is not None and found['content'] != content:
        raise ValueError(f'{path} was rewritten since, with other values. Give every experiment a path of its own.')
    return found
