"""The call of a module that was running when a forward failed, to be repeated alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from ...utils import map_tensors

__all__ = ['FailingCall', 'watch_calls']


class FailingCall(NamedTuple):
    """A call that did not return.

    Attributes
    ----------
    module
        The module.
    args, kwargs
        What it was called with, before it could change a tensor of them.
    progress
        What ``progress()`` of `watch_calls` returned when it was entered.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    progress: int

    def repeat(self) -> Any:
        """Call the module again."""
        args, kwargs = map_tensors(Tensor.clone, (self.args, self.kwargs))
        return self.module(*args, **kwargs)


@contextmanager
def watch_calls(module: nn.Module, progress: Callable[[], int]) -> Iterator[list[FailingCall]]:
    """Yield a list that holds the calls of a module that were entered and have not returned."""
    running: list[FailingCall] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        own_args, own_kwargs = map_tensors(Tensor.clone, (args, kwargs))
        running.append(FailingCall(module, own_args, own_kwargs, progress()))

    handles = [
        module.register_forward_pre_hook(enter, with_kwargs=True),
        module.register_forward_hook(lambda *_: running.pop() and None),
    ]
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()
