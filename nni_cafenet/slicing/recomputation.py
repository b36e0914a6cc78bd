"""Gradient checkpointing inside a model: recomputation sees the slices of its own forward.

A checkpointed function runs again in the backward, when the full weights are back in the model and another selection may
be active. It is therefore wrapped when it is checkpointed.

torch has no public hook for this, so names of ``torch.utils.checkpoint`` are replaced during a forward. Models that
recompute in another way (a custom ``autograd.Function``), and releases of torch without these names, raise an error in
the first backward.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.checkpoint as torch_checkpoint
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ..utils import checkpoint_generators, is_in_backward

__all__ = ['RecomputationCheck', 'recomputing']

Recompute = Callable[[Callable[[], Any]], Any]

_REENTRANT = 'CheckpointFunction'
_NAMES = [_REENTRANT, *checkpoint_generators()]
_STEPS = 8


@contextlib.contextmanager
def recomputing(recompute: Recompute) -> Iterator[None]:
    """Pass functions checkpointed in this block to ``recompute`` when the backward runs them again.

    Parameters
    ----------
    recompute
        Calls a function on the state of the first forward and returns its result.
    """
    scope = _CheckpointedForward(recompute)
    own = {name: getattr(torch_checkpoint, name) for name in _NAMES}
    for name, value in own.items():
        setattr(torch_checkpoint, name, scope.replacement(name, value))
    try:
        yield
    finally:
        scope.in_forward = False
        for name, value in own.items():
            setattr(torch_checkpoint, name, value)


class RecomputationCheck:
    """Raises an error if a backward calls modules of the model outside `recomputing`, in the first steps of a supernet."""

    def __init__(self, model: nn.Module) -> None:
        self._left = _STEPS
        self._owned = {id(module) for module in model.modules()}
        self._close: Any = None

    def before_step(self) -> None:
        """Watch the backward of another step."""
        if self._left == 0:
            return
        self._left -= 1
        if self._close is None:
            handle = register_module_forward_pre_hook(_Refusal(self._owned))
            self._close = weakref.finalize(self, handle.remove)
        if self._left == 0:
            self._close()


class _Refusal:
    def __init__(self, owned: set[int]) -> None:
        self._owned = owned

    def __call__(self, module: nn.Module, _: Any) -> None:
        if id(module) in self._owned and is_in_backward() and not _CheckpointedForward.recomputing:
            raise RuntimeError(
                f'{type(module).__name__} is called again in the backward (by gradient checkpointing of its own, or by '
                f'torch.utils.checkpoint of an unknown release of torch, {torch.__version__}). A supernet '
                'cannot run such a model: the second call would see full weights. Turn recomputation off in the model.'
            )


class _CheckpointedForward:
    """One forward and the functions checkpointed in it."""

    recomputing = 0
    """Number of nested recomputations in progress."""

    def __init__(self, recompute: Recompute) -> None:
        self.in_forward = True
        self._recompute = recompute

    def replacement(self, name: str, own: Any) -> Any:
        """Return the replacement of a name of ``torch.utils.checkpoint``."""
        if name == _REENTRANT:
            return _Reentrant(own, self.wrapped)
        return lambda function, *args, **kwargs: own(self.wrapped(function), *args, **kwargs)

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs unchanged in the forward, and on the state of the forward afterwards."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if self.in_forward:
                return function(*args, **kwargs)
            _CheckpointedForward.recomputing += 1
            try:
                with recomputing(self._recompute):  # a checkpoint inside a checkpoint
                    return self._recompute(lambda: function(*args, **kwargs))
            finally:
                _CheckpointedForward.recomputing -= 1

        return run


class _Reentrant:
    """Replaces ``CheckpointFunction``, of which ``torch.utils.checkpoint`` calls ``apply`` only."""

    def __init__(self, own: Any, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._own = own
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def apply(self, function: Callable[..., Any], *args: Any) -> Any:
        """Checkpoint a call of a function."""
        return self._own.apply(self._wrapped(function), *args)
