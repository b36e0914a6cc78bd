"""Sums of the scores of layers over channel groups, and how layers are normalized."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import torch
from torch import Tensor, nn

from ..graph import ChannelGraph

__all__ = ['NORMALIZATIONS', 'ScoreSum', 'structures']

NORMALIZATIONS = ('layer', 'isomorphic', 'none')


class ScoreSum:
    """Accumulates channel scores over layers.

    ``normalize`` is one of `NORMALIZATIONS`, ``structure`` the structure of each group (see `structures`).
    """

    def __init__(self, graph: ChannelGraph, normalize: str, structure: dict[str, object]) -> None:
        self._graph = graph
        self._normalize = normalize
        self._structure = structure
        self._shares: dict[str, dict[tuple[str, int], Tensor]] = {group.label: {} for group in graph.groups}

    def add(self, name: str, axis: int, scores: Tensor, *, root: bool = False) -> None:
        """Add a weight's element scores, summed over all axes but ``axis``.

        ``root`` takes the square root of a channel's sum.
        """
        others = [other for other in range(scores.dim()) if other != axis]
        self.add_positions(name, axis, scores.sum(others) if others else scores, root=root)

    def add_positions(self, name: str, axis: int, scores: Tensor, *, root: bool = False) -> None:
        """Add the scores of the positions of a weight's axis."""
        layout = self._graph.layouts[self._graph.dims[name][axis]]  # type: ignore[index]
        at_position = scores.cpu()
        for number in np.unique(layout.groups[layout.groups >= 0]).tolist():
            group, own = self._graph.groups[number], torch.from_numpy(layout.groups == number)
            channels = torch.from_numpy(layout.channels)[own]
            share = torch.zeros(group.width, dtype=torch.float64).index_add_(0, channels, at_position[own])
            share = share.sqrt() if root else share
            shares = self._shares[group.label]
            shares[name, axis] = shares[name, axis] + share if (name, axis) in shares else share

    def total(self, count: int = 1) -> dict[str, Tensor]:
        """Return the score of each channel, ``{label: float64 (width,)}``; the sums are divided by ``count``."""
        means = self._means()
        total = {group.label: torch.zeros(group.width, dtype=torch.float64) for group in self._graph.groups}
        for label, shares in self._shares.items():
            for index, share in enumerate(shares.values()):
                mean = means[label, index] if means else float(count)
                total[label] += share / mean if mean > 0 else share
        return total

    def _means(self) -> dict[tuple[str, int], float]:
        """Return what each layer's scores are divided by, ``{(label, index of the layer): mean}``; empty for no change."""
        if self._normalize == 'none':
            return {}
        alike = defaultdict[object, list[Tensor]](list)
        for label, shares in self._shares.items():
            for index, share in enumerate(shares.values()):
                alike[self._key(label, index)].append(share)
        mean = {key: float(torch.cat(shares).abs().mean()) for key, shares in alike.items()}
        return {
            (label, index): mean[self._key(label, index)]
            for label, shares in self._shares.items()
            for index in range(len(shares))
        }

    def _key(self, label: str, index: int) -> object:
        own = label if self._normalize == 'layer' else self._structure[label]
        return own, index


def structures(model: nn.Module, graph: ChannelGraph) -> dict[str, object]:
    """Return the structure of each group: the kinds of its layers, and which of their axes it is.

    Groups of equal structure are isomorphic: sizes and names do not count, types of layers, kernels and how often a channel
    occurs do.
    """
    modules = dict(model.named_modules())
    parts: dict[str, list[object]] = {group.label: [] for group in graph.groups}
    for name, parameter in model.named_parameters():
        layer, _, leaf = name.rpartition('.')
        module = modules[layer]
        grouped = getattr(module, 'groups', 1) != 1
        for axis, dim in enumerate(graph.dims.get(name, ())):
            if dim is None:
                continue
            layout = graph.layouts[dim]
            kind = type(module).__qualname__, leaf, axis, tuple(parameter.shape[2:]), grouped
            for number in np.unique(layout.groups[layout.groups >= 0]).tolist():
                group = graph.groups[number]
                repeat = int((layout.groups == number).sum()) // group.width
                parts[group.label].append((*kind, repeat))
    return {label: frozenset(Counter(each).items()) for label, each in parts.items()}
