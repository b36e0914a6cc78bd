"""Running statistics of batch normalization for one width; those of the supernet stay."""

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
    """Estimate the running statistics of the active network, as the plain average over batches.

    Only batch normalization is in training mode, not dropout; the model is left in evaluation mode. Normalizations in
    ``frozen`` (see `frozen_norms`) or with a momentum of 0 keep their statistics, as do all without batches.
    ``tensors`` are those of `WidthSpace.prepared`. Source: the authors' code averages over 20 training batches before
    it scores a width.
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
    """Return the names of batch normalizations that the user froze: they stay in evaluation mode while the model trains.

    If the model is in training mode, those that are not; else those that its ``train()`` leaves in evaluation mode.
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
    """Return the names of batch normalizations in evaluation mode."""
    norms = ((name, module) for name, module in model.named_modules() if _has_statistics(module))
    return frozenset(name for name, module in norms if not module.training)


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, BatchNorm) and module.track_running_stats and module.running_mean is not None


def _key(module: str, name: str) -> str:
    return f'{module}.{name}' if module else name
