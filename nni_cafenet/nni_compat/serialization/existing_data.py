"""The constructor calls of loaders and data sets that exist already."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from ...utils import draws_of

__all__ = ['call_of']


def call_of(made: Any) -> tuple[Any, dict[str, Any]]:
    """Return the class and arguments that make an object like this one; a TypeError if they cannot be known."""
    if type(made) is DataLoader:
        return DataLoader, _settings(made)
    if type(made) is Subset:
        return Subset, {'dataset': made.dataset, 'indices': made.indices}
    if type(made) is ConcatDataset:
        return ConcatDataset, {'datasets': list(made.datasets)}
    kind = type(made).__name__
    if isinstance(made, TensorDataset):
        remedy = "Keep its tensors in a file: traced_tensors(*dataset.tensors, path='data.pt')."
    elif isinstance(made, nn.Module):
        remedy = (
            "Decorate its class with @traced; for a model of which widths are searched: factory_of(model, 'model.pt')."
        )
    else:
        remedy = f'Trace what makes it: traced({kind})(...), with the arguments of {kind}.'
    raise TypeError(f'traced() cannot know how a {kind} was made that is there already. {remedy}')


def _settings(loader: Any) -> dict[str, Any]:
    """Return the arguments that make a loader."""
    settings: dict[str, Any] = {'dataset': loader.dataset}
    for name in ('num_workers', 'collate_fn', 'pin_memory', 'timeout', 'worker_init_fn', 'generator', 'in_order'):
        if hasattr(loader, name):
            settings[name] = getattr(loader, name)
    if loader.num_workers:
        context = loader.multiprocessing_context
        settings['multiprocessing_context'] = context and context.get_start_method()
        settings['prefetch_factor'] = loader.prefetch_factor
        settings['persistent_workers'] = loader.persistent_workers
    if loader.batch_size is None and loader.batch_sampler is not None:
        return {**settings, 'batch_sampler': loader.batch_sampler}
    settings['batch_size'] = loader.batch_size
    if loader.batch_size is not None:
        settings['drop_last'] = loader.drop_last
    sampler = loader.sampler
    if isinstance(loader.dataset, IterableDataset) or type(sampler) is SequentialSampler:
        return settings
    return {**settings, **({'shuffle': True} if _is_shuffling(sampler, loader) else {'sampler': sampler})}


def _is_shuffling(sampler: Any, loader: Any) -> bool:
    """Whether a sampler is the one that a loader makes of ``shuffle=True``."""
    if type(sampler) is not RandomSampler or sampler.generator is not loader.generator:
        return False
    return not sampler.replacement and draws_of(sampler) is None
