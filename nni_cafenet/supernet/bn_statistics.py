"""Running statistics of batch normalization for one width, without a trace in the supernet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..utils import BatchNorm

__all__ = ['estimate_statistics', 'frozen_norms', 'norms_in_eval']


def estimate_statistics(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    batches: Iterable[Any],
    run: Callable[[Any], Any],
    frozen: Collection[str] = (),
) -> None:
    """Estimate the running statistics of the network that now runs, as the plain average over some batches.

    Parameters
    ----------
    model
        The model; it is left in evaluation mode.
    tensors
        ``{name: tensor}`` that the model runs on (what `WidthSpace.prepared` yields); the statistics in it are written.
    batches
        Training batches. With none, statistics stay as they are.
    run
        Called with each batch; runs the model.
    frozen
        Names of normalizations whose statistics the user does not train (see `frozen_norms`): they stay as they are, as do
        those with a momentum of 0.

    Notes
    -----
    Source: the same authors' code re-estimates with a cumulative average over 20 training batches before it scores a
    width. Only batch normalization is in training mode meanwhile (dropout is not).
    """
    model.eval()
    batches = list(batches)
    norms = {
        name: module
        for name, module in model.named_modules()
        if _has_statistics(module) and module.momentum != 0 and name not in frozen
    }
    if not batches or not norms:
        return
    momenta = {name: module.momentum for name, module in norms.items()}
    try:
        with torch.no_grad():
            for name, module in norms.items():
                tensors[_key(name, 'running_mean')].zero_()
                tensors[_key(name, 'running_var')].fill_(1)
                tensors[_key(name, 'num_batches_tracked')].zero_()
                module.momentum = None  # a cumulative average
                module.train()
            for batch in batches:
                run(batch)
    finally:
        for name, module in norms.items():
            module.momentum = momenta[name]
            module.eval()


def frozen_norms(model: nn.Module) -> frozenset[str]:
    """Return the names of batch normalizations that stay in evaluation mode while a model trains: their user froze them.

    Where the model is in training mode, those that are not; else those that its own ``train()`` leaves in evaluation mode.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        if not model.training:
            model.train()
        return norms_in_eval(model)
    finally:
        for module, mode in modes.items():
            module.training = mode


def norms_in_eval(model: nn.Module) -> frozenset[str]:
    """Return the names of batch normalizations that are in evaluation mode now."""
    norms = ((name, module) for name, module in model.named_modules() if _has_statistics(module))
    return frozenset(name for name, module in norms if not module.training)


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, BatchNorm) and module.track_running_stats and module.running_mean is not None


def _key(module: str, name: str) -> str:
    return f'{module}.{name}' if module else name
