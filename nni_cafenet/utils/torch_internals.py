"""Private names of torch, each with a public fallback.

Left out: the dictionaries of ``nn.Module`` (``_parameters``, ``_buffers``, ``_modules``), which half of torch's users
read and which have no public counterpart.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

__all__ = [
    'BatchNorm',
    'ConvNd',
    'StatisticsNorm',
    'checkpoint_generators',
    'copy_each',
    'draws_of',
    'is_in_backward',
    'is_transformed',
    'put_flat_weights',
    'put_persistent_iterator',
    'storage_uses',
    'version_of',
    'zero_each',
]

# --- the supernet's step --------------------------------------------------------------------------

try:
    from torch.nn.modules.conv import _ConvNd as ConvNd
except ImportError:
    ConvNd = (  # type: ignore[assignment, misc]
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.ConvTranspose3d,
    )
try:
    from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
except ImportError:
    BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # type: ignore[assignment, misc]
try:
    from torch.nn.modules.batchnorm import _NormBase as StatisticsNorm
except ImportError:
    StatisticsNorm = (  # type: ignore[assignment, misc]
        *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
        *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    )

_unknown = itertools.count(-1, -1)
"""Numbers that differ from each other and from every count."""


def checkpoint_generators() -> list[str]:
    """Return the names in ``torch.utils.checkpoint`` behind ``use_reentrant=False``; none where torch renamed them."""
    names = ('_checkpoint_without_reentrant_generator_impl', '_checkpoint_without_reentrant_generator')
    return [name for name in names if hasattr(torch.utils.checkpoint, name)]


def copy_each(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its target, in one call."""
    native = getattr(torch, '_foreach_copy_', None)
    if native is not None:
        native(targets, sources)
        return
    for target, source in zip(targets, sources):
        target.copy_(source)


def zero_each(tensors: Sequence[Tensor]) -> None:
    """Fill each tensor with zeros, in one call."""
    native = getattr(torch, '_foreach_zero_', None)
    if native is not None:
        native(tensors)
        return
    for tensor in tensors:
        tensor.zero_()


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was written to; if torch does not say, another number at each call."""
    version: int | None = getattr(tensor, '_version', None)
    return next(_unknown) if version is None else version


def storage_uses(tensor: Tensor) -> int:
    """Return how many tensors share the memory of one; if torch does not say, another number at each call."""
    count = getattr(torch._C, '_storage_Use_Count', None)
    return next(_unknown) if count is None else int(count(tensor.untyped_storage()._cdata))


def put_flat_weights(layer: nn.Module) -> dict[str, Any]:
    """Put the parameters that a recurrent layer holds now into its own lists of them; return these lists as they were.

    Otherwise the layer notices other parameters in its next forward, joins them in memory on CUDA, and keeps them. Nothing
    is done where torch keeps no such lists.
    """
    own = vars(layer)
    before: dict[str, Any] = {name: own[name] for name in ('_flat_weights', '_flat_weight_refs') if name in own}
    if '_flat_weights' in before:
        names = own.get('_flat_weights_names', ())
        weights = [layer._parameters.get(name, old) for name, old in zip(names, own['_flat_weights'])]
        own['_flat_weights'] = weights
        if '_flat_weight_refs' in before:
            own['_flat_weight_refs'] = [None if weight is None else weakref.ref(weight) for weight in weights]
    return before


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` is active; True if torch does not say."""
    active = getattr(torch._C, '_are_functorch_transforms_active', None)
    return True if active is None else bool(active())


def is_in_backward() -> bool:
    """Whether autograd runs a backward in this thread."""
    task = getattr(torch._C, '_current_graph_task_id', None)
    if task is not None:
        return bool(task() != -1)
    frame: Any = sys._getframe()
    while frame is not None:
        if (frame.f_globals.get('__name__'), frame.f_code.co_name) in _BACKWARD_FRAMES:
            return True
        frame = frame.f_back
    return False


_BACKWARD_FRAMES = {
    ('torch.autograd', 'backward'),
    ('torch.autograd', 'grad'),
    ('torch.autograd.function', 'apply'),  # of a custom function's backward, in whatever thread
}


# --- data -----------------------------------------------------------------------------------------


def put_persistent_iterator(loader: DataLoader[Any], iterator: Any) -> None:
    """Let a loader keep an iterator and its worker processes."""
    if hasattr(loader, '_iterator'):
        loader._iterator = iterator


def draws_of(sampler: RandomSampler) -> int | None:
    """Return the ``num_samples`` that a sampler was made with; None for all samples of the data set."""
    if hasattr(sampler, '_num_samples'):
        return sampler._num_samples
    return None if sampler.num_samples == len(sampler.data_source) else sampler.num_samples
