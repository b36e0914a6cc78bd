"""Side effects of a training step, so that those of a losing channel set can be taken back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..randomness import load_random_state, random_state

__all__ = ['SideEffects']


class SideEffects:
    """What a training step may change besides gradients: buffers, states of metrics, random generators.

    Autograd saves buffers, and refuses the backward of a graph if one of them was written to since. So only those that
    the step itself wrote to are written to here. Version counters tell, but for normalisations, which write their
    statistics without counting; these are brought back without counting too.

    Parameters
    ----------
    module
        The module whose step is run.
    """

    def __init__(self, module: nn.Module) -> None:
        self._buffers = [
            (owner, name, buffer, buffer.detach().clone(), buffer._version)
            for owner in module.modules()
            for name, buffer in owner._buffers.items()
            if buffer is not None
        ]
        self._metrics = [(metric, _metric_state(metric)) for metric in module.modules() if hasattr(metric, '_defaults')]
        self._random = random_state()

    def restore(self) -> None:
        """Make everything as it was when this object was made."""
        with torch.no_grad():
            for index, (owner, name, buffer, values, version) in enumerate(self._buffers):
                owner._buffers[name] = buffer
                if buffer._version != version:
                    buffer.copy_(values)
                    self._buffers[index] = (owner, name, buffer, values, buffer._version)
                elif isinstance(owner, _NormBase):
                    buffer.data.copy_(values)
        for metric, state in self._metrics:
            for name, value in state.items():
                object.__setattr__(metric, name, _copy(value))
        load_random_state(self._random)


def _metric_state(metric: Any) -> dict[str, Any]:
    """Return the state of a torchmetrics metric: its accumulators, and what it caches."""
    names = [*metric._defaults, '_update_count', '_computed', '_forward_cache', '_update_called']
    return {name: _copy(metric.__dict__[name]) for name in names if name in metric.__dict__}


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return [_copy(item) for item in value] if isinstance(value, list) else value
