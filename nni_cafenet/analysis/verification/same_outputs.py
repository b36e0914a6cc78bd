"""Does a model still compute what it computed before its tensors were changed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...graph import ChannelGraph, ExampleInput
from .channel_order import unchanged
from .forwards import Forwards

__all__ = ['SameOutputs']


class SameOutputs:
    """Tells whether a model still computes what it computed when this was made: in evaluation mode, but for rounding.

    Parameters
    ----------
    model
        The model, with values.
    graph
        Its channel graph.
    example
        What it is called with; it is brought to the device and the precision of the model.

    Attributes
    ----------
    stand_ins
        ``{name: tensor}``: values used instead of those of parameters that hide what the model computes (zeros). What is
        done to such a parameter must be done to its stand-in.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput) -> None:
        self._forwards = Forwards(model, graph, example.to_model(model))
        self.stand_ins: Mapping[str, Tensor] = self._forwards.stand_ins
        self._run(lambda: self._forwards.whole(self._forwards.order_precision))

    def __call__(self) -> bool:
        """Run the model; False if its outputs have changed."""
        return self._run(lambda: unchanged(self._forwards))

    def _run(self, check: Callable[[], Any]) -> Any:
        device = self._forwards.device
        with self._forwards.running(), torch.random.fork_rng([device] if device.type == 'cuda' else []):
            torch.manual_seed(0)  # the same noise in every run
            return check()
