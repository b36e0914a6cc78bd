"""Do zeros in the parameters alone, with buffers as they are, compute what slices compute?"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...graph import ChannelGraph
from .compare import same_output
from .draw import random_channel_sets
from .forwards import Forwards
from .overrides import masked
from .random_widths import RandomWidths

__all__ = ['ParameterMasks']


class ParameterMasks(RandomWidths):
    """Asks `beyond_masks`'s question, at random widths."""

    def __init__(self, forwards: Forwards, graph: ChannelGraph, rng: np.random.Generator) -> None:
        super().__init__(forwards, graph, rng)
        self._parameters = frozenset(name for name, _ in forwards.model.named_parameters())

    def failure(self, graph: ChannelGraph, labels: list[str]) -> str | None:
        """Say so if they do not, at one draw of widths of these groups; None if they do."""
        forwards = self.forwards
        sets = random_channel_sets(graph, labels, self.rng)
        zeros = masked(graph, sets, forwards.device)

        def masked_parameter(name: str, tensor: Tensor) -> Tensor:
            return zeros(name, tensor) if name in self._parameters else tensor

        dtype = forwards.precise
        with forwards.replaying() as decisions:
            whole = forwards.outputs(dtype, masked_parameter)
        with forwards.replaying(decisions.taken):
            sliced = forwards.sliced(graph, sets, dtype)
        if [leaf.shape for leaf in whole] == [leaf.shape for leaf in sliced] and all(map(same_output, whole, sliced)):
            return None
        return 'zeros in its weights do not do what its removal does (normalization, softmax, a scale by the width)'
