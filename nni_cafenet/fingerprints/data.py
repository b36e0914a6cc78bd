"""Fingerprints of data: the number of samples, and a few of them, drawn by a seed."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from ..utils import seeded
from .values import Describer, digest

__all__ = ['dataset_record', 'loader_record']

_logger = logging.getLogger(__name__)

_SAMPLES = 8
_SEED = 20210503
_SMALL = 1 << 24
"""Largest size, in bytes, of tensors that are compared completely."""


def loader_record(loader: Any) -> Any:
    """Return the data of a loader, or of each of several, as plain data.

    Settings of speed, such as workers and memory pinning, are left out. Anything but a ``DataLoader`` is identified by
    its class and length.
    """
    if loader is None:
        return None
    if isinstance(loader, (list, tuple)):
        return [loader_record(each) for each in loader]
    if isinstance(loader, dict):
        return {str(name): loader_record(each) for name, each in loader.items()}
    describe = Describer()
    if not isinstance(loader, DataLoader):
        return {'class': describe(type(loader)), 'batches': _length(loader)}
    record: dict[str, Any] = {'batch_size': loader.batch_size, 'drop_last': loader.drop_last}
    record['collate_fn'] = describe(loader.collate_fn)
    if not isinstance(loader.dataset, IterableDataset):
        record['shuffle'] = _order(loader, describe)
    return {**record, **dataset_record(loader.dataset)}


def dataset_record(dataset: Any) -> dict[str, Any]:
    """Return the content of a data set, as plain data.

    Samples are read twice from a copy that shares the data, with all generators seeded. If they differ even so, they
    are random on access, and only their types and shapes are compared, with the code that makes them.
    """
    name, length = type(dataset).__qualname__, _length(dataset)
    record: dict[str, Any] = {'dataset': name, 'length': length}
    if (
        isinstance(dataset, TensorDataset)
        and sum(each.numel() * each.element_size() for each in dataset.tensors) <= _SMALL
    ):
        return {**record, 'samples': digest(Describer()(list(dataset.tensors)))}
    if isinstance(dataset, Subset):
        record['indices'] = digest([int(index) for index in dataset.indices])
    if isinstance(dataset, IterableDataset) or not length:
        return {**record, 'code': Describer()(type(dataset))}
    first, second = (_samples(_own_copy(dataset), length) for _ in range(2))
    if first is None or second is None:
        return {**record, 'code': Describer()(type(dataset))}
    if first == second:
        return {**record, 'samples': digest(Describer()(first))}
    _logger.info(
        'Samples of %s are random whenever they are read, by generators of their own: a resumed run compares their number, '
        'shapes and code, not their values.',
        name,
    )
    return {**record, 'samples': 'random', 'shapes': digest(_shapes(first)), 'code': Describer()(type(dataset))}


def _order(loader: DataLoader[Any], describe: Describer) -> Any:
    """Describe the order of samples: shuffled or not, or a custom sampler by class, length and settings."""
    sampler = loader.sampler if loader.batch_size is not None else loader.batch_sampler
    if type(sampler) is SequentialSampler:
        return False
    if type(sampler) is RandomSampler:
        drawn = sampler._num_samples
        return (
            True if not sampler.replacement and drawn is None else {'replacement': sampler.replacement, 'drawn': drawn}
        )
    settings = {
        name: each
        for name, each in vars(sampler).items()
        if name not in ('data_source', 'generator', 'sampler', 'dataset') and not callable(each)
    }
    return {'sampler': describe(type(sampler)), **{name: describe(each) for name, each in sorted(settings.items())}}


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except (TypeError, NotImplementedError):
        return None


def _own_copy(dataset: Any) -> Any:
    """Return a data set that shares the data of another one; files are opened in the copy only."""
    try:
        made = copy.copy(dataset)
        if isinstance(getattr(dataset, 'dataset', None), Dataset):
            made.dataset = _own_copy(dataset.dataset)
    except Exception:  # noqa: BLE001  a data set that cannot be copied is used itself
        return dataset
    return made


def _samples(dataset: Any, length: int) -> list[Any] | None:
    """Return a few samples as plain data; None if they cannot be read, which the training reports better."""
    places = np.random.default_rng(_SEED).integers(length, size=_SAMPLES).tolist()
    try:
        with seeded(_SEED):
            return [Describer()(_readable(dataset[place])) for place in (0, *places, length - 1)]
    except Exception:  # noqa: BLE001  whatever code of users raises
        return None


def _readable(sample: Any) -> Any:
    """Return a sample with pictures as arrays."""
    if isinstance(sample, (list, tuple)):
        return [_readable(each) for each in sample]
    if isinstance(sample, dict):
        return {key: _readable(each) for key, each in sample.items()}
    return np.asarray(sample) if hasattr(sample, '__array_interface__') else sample


def _shapes(record: Any) -> Any:
    """Return a description of samples without their values."""
    if isinstance(record, dict):
        return {key: _shapes(each) for key, each in record.items()}
    if isinstance(record, list):
        return [_shapes(each) for each in record]
    return record.partition(' [')[0] if isinstance(record, str) else type(record).__name__


Describer.kinds += [(DataLoader, loader_record), (Dataset, dataset_record)]
