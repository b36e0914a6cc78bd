"""Loaders from a user's function."""

from __future__ import annotations

from typing import Any

from ...utils import seeded
from ..loading import CodeName, required_arguments, taken_arguments
from .request import Data, DataRequest

__all__ = ['data_of_code']


def data_of_code(name: CodeName, request: DataRequest) -> Data:
    """Call a function that returns a training loader, or training and validation loaders.

    It gets ``batch_size``, ``workers`` and ``seed`` if it has parameters of these names. Raises DataError if there is
    no such function, it fails, or its result cannot be trained on.
    """
    function = name.find()
    if not callable(function):
        raise name.wrong(f'is a {type(function).__name__}', 'name a function that returns loaders')
    offered = {'batch_size': request.batch_size, 'workers': request.workers, 'seed': request.seed}
    missing = [argument for argument in required_arguments(function) if argument not in offered]
    if missing:
        raise name.wrong(
            f'needs arguments ({", ".join(missing)})',
            f'name a function that needs none, or only some of {", ".join(offered)}',
        )
    taken, takes_any = taken_arguments(function)
    try:
        with seeded(request.seed):
            made = function(**{key: value for key, value in offered.items() if takes_any or key in taken})
    except (Exception, SystemExit) as error:
        raise name.failed('calling it', error) from error
    train, validate = _pair(name, made)
    shape, labels = _first_batch(name, train, request)
    counted = f'{len(train.dataset):,} samples' if hasattr(train.dataset, '__len__') else 'samples'
    described = 'no validation data' if validate is None else 'validation data beside them'
    return Data(train, validate, shape, None, f'{counted} for training, {described}', labels)


def _pair(name: CodeName, made: Any) -> tuple[Any, Any]:
    from torch.utils.data import DataLoader

    several = isinstance(made, (tuple, list))
    pair = tuple(made) if several else (made, None)
    if len(pair) != 2 or not isinstance(pair[0], DataLoader) or not isinstance(pair[1], (DataLoader, type(None))):
        found = ', '.join(type(each).__name__ for each in (made if several else [made])) or 'nothing'
        raise name.wrong(
            f'returned {found}',
            'it must return a torch.utils.data.DataLoader for training, or two: for training and for validation',
        )
    return pair[0], pair[1]


def _first_batch(name: CodeName, train: Any, request: DataRequest) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return the shape of an input, if it is a tensor, and the labels of the first batch."""
    import torch

    try:
        with seeded(request.seed):
            batch = next(iter(train), None)
    except (Exception, SystemExit) as error:
        raise name.failed('reading its first batch', error) from error
    if batch is None:
        raise name.wrong('its training loader yields no batch', 'give it more samples, or drop_last=False')
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        count = f' of {len(batch)}' if isinstance(batch, (tuple, list)) else ''
        raise name.wrong(
            f'its batches are a {type(batch).__name__}{count}', 'a batch must be (inputs, targets): see collate_fn'
        )
    inputs, targets = batch
    shape = tuple(inputs.shape[1:]) if isinstance(inputs, torch.Tensor) else None
    is_labels = isinstance(targets, torch.Tensor) and targets.dim() == 1 and not targets.is_floating_point()
    return shape, tuple(sorted(set(targets.tolist()))) if is_labels else ()
