"""The MACs of each layer of the full model, measured by one forward."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from ..graph import ExampleInput
from ..slicing import call_with, using_mode
from .model_state import untouched
from .verification import flop_counter, with_known_batch, without_fused_attention

__all__ = ['layer_macs']


def layer_macs(model: nn.Module, example: ExampleInput) -> dict[str, int]:
    """Count the MACs of every layer in one forward in evaluation mode.

    An operator counts for the innermost module that runs it: the matrix products of hand-written attention for the
    attention module, not for its linear layers.

    Parameters
    ----------
    model
        The model; it is left as it was.
    example
        What it is called with.

    Returns
    -------
    ``{name of the layer: MACs of one sample}`` (`FlopCounterMode`, halved), in the order in which the layers first
    run; layers without MACs are left out, and ``''`` is the model itself. The values add up to the MACs of the model.
    """
    flops: dict[str, int] = {}
    running: list[str] = []
    counted = 0
    counter = flop_counter()

    def settle() -> None:
        """Add what was counted since the last call to the running layer."""
        nonlocal counted
        total = counter.get_total_flops()
        if running:
            flops[running[-1]] = flops.get(running[-1], 0) + total - counted
        counted = total

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            settle()
            running.append(name)
            flops.setdefault(name, 0)

        return hook

    def leave(*_: Any) -> None:
        settle()
        running.pop()

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave))
    try:
        tensors = {
            name: parameter.detach() for name, parameter in model.named_parameters()
        }  # the counter asks for that
        tensors.update((name, buffer.clone()) for name, buffer in model.named_buffers())
        inputs = with_known_batch(example, model).with_batch(1).fresh()
        with contextlib.ExitStack() as stack:
            stack.enter_context(stack.enter_context(untouched(model)).watching())
            for context in (using_mode(model, training=False), torch.no_grad(), without_fused_attention(), counter):
                stack.enter_context(context)
            call_with(model, tensors, inputs.args, inputs.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total // 2 for name, total in flops.items() if total}
