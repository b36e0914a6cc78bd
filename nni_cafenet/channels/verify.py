"""Real forwards that hold a channel graph against its model.

At random widths and random channel sets the model is run twice: on slices of its tensors (as the slim model runs), and
whole, with everything that was not selected set to zero. Where no operator mixes channels the two must agree. Elsewhere
the slices must run, and the full model must not notice when the channels of a group change places, everywhere at once:
normalisation, softmax and means do not depend on the order. A group that does not stand this is fixed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .cost import Polynomial
from .graph import ChannelGraph
from .inputs import ExampleInput
from .run import call_with, using_attributes
from .selection import Selection, put, take
from .trace import using_mode

__all__ = ['random_channel_sets', 'stands', 'verify', 'warn_of']

_logger = logging.getLogger(__name__)

_LARGE = 10**8
"""Parameters from which on the order of channels is tried in the model's own precision, not in float64."""

_CHEAP = 10**9
"""MACs of the example input below which every check is made at three random widths, not at one."""

_IN_VAIN = 4
"""How often the culprits may be looked for in vain until all groups that are left are taken for culprits."""


def verify(
    model: nn.Module,
    graph: ChannelGraph,
    example: ExampleInput,
    seed: int = 0,
    *,
    known: bool = False,
    quiet: bool = False,
) -> ChannelGraph:
    """Return the graph without the groups that the model cannot really change.

    Parameters
    ----------
    model
        The model that the graph was made from. It is left as it was.
    graph
        Its channel graph.
    example
        What the model is called with.
    seed
        Seed of the random widths and channel sets.
    known
        The graph `stands`: only its costs are left to measure.
    quiet
        Leave the warnings to the caller.
    """
    checks = _Checks(model, graph, example, np.random.default_rng(seed))
    with using_mode(model, training=False), torch.no_grad():
        reasons = {} if known else checks.culprits(list(graph.labels))
        if reasons:
            if not quiet:
                warn_of(reasons)
            graph = graph.without(reasons)
        return _with_measured_macs(model, graph, example, checks)


def warn_of(reasons: Mapping[str, str]) -> None:
    """Warn of groups that keep their width, given as ``{label: why}``."""
    for label, reason in reasons.items():
        _logger.warning('The channels of %s keep their width: %s.', label, reason)


def stands(model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0) -> bool:
    """Whether the model can really change all groups of the graph together; as `verify`, without looking for culprits."""
    checks = _Checks(model, graph, example, np.random.default_rng(seed))
    with using_mode(model, training=False), torch.no_grad():
        return checks.problem(list(graph.labels)) is None


def random_channel_sets(
    graph: ChannelGraph, labels: Sequence[str], rng: np.random.Generator
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return a random channel set of a random width for each of some groups."""
    sets = {}
    for group in graph.groups:
        if group.label in labels:
            width = int(rng.integers(1, group.width)) if group.width > 1 else 1
            sets[group.label] = np.sort(rng.choice(group.width, size=width, replace=False)).astype(np.int64)
    return sets


class _Checks:
    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput, rng: np.random.Generator) -> None:
        self.model = model
        self.graph = graph
        self.example = example
        self.rng = rng
        self.mixed = {group.label for group in graph.groups if group.mixed}
        self._in_order: list[Tensor] | None = None
        macs = int(graph.cost.macs_of(graph.full_widths[None])[0]) * example.batch_size if graph.groups else 0
        self.draws = 3 if macs < _CHEAP else 1
        self.trained_only = {group.label for group in graph.groups if group.macs_a_channel == 0}

    def culprits(self, labels: list[str]) -> dict[str, str]:
        """Find the groups with which the model fails, and why, until it stands with all others together."""
        reasons: dict[str, str] = {}
        left, in_vain = labels, 0
        while (problem := self.problem(left)) is not None:
            found: dict[str, str] = {}
            self._accept([], left, found)
            in_vain += not found
            reasons.update(found if in_vain < _IN_VAIN else dict.fromkeys(left, problem))
            left = [label for label in left if label not in reasons]
        return reasons

    def _accept(self, accepted: list[str], candidates: list[str], reasons: dict[str, str]) -> list[str]:
        problem = self.problem([*accepted, *candidates]) if candidates else None
        if problem is None:
            return [*accepted, *candidates]
        if len(candidates) == 1:
            reasons[candidates[0]] = problem
            return accepted
        half = len(candidates) // 2
        accepted = self._accept(accepted, candidates[:half], reasons)
        return self._accept(accepted, candidates[half:], reasons)

    def problem(self, labels: list[str]) -> str | None:
        """Run the model with these groups at several random widths; say what is wrong, or None.

        One channel set may hide what is wrong: a wrong order of channels, where the set is the same in both orders.
        """
        for _ in range(self.draws if labels else 0):
            found = self._problem_of_one_draw(labels)
            if found is not None:
                return found
        return None

    def _problem_of_one_draw(self, labels: list[str]) -> str | None:
        sets = random_channel_sets(self.graph, labels, self.rng)
        pure = {label: chosen for label, chosen in sets.items() if label not in self.mixed}
        try:
            mixed = [label for label in sets if label in self.mixed]
            if mixed:
                self.run_slices(sets, self.example)
                if not self._unordered(mixed):
                    return 'its channels do not stand where the analysis thinks'
            if any(label in self.trained_only for label in sets):
                with using_mode(self.model, training=True):
                    self.run_slices(sets, self.example.with_batch_of_two())
            for dtype in (None, torch.float64):
                verdict = self._agree(pure, dtype)
                if verdict is not None:
                    return None if verdict else 'at another width the network computes something else'
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return f'at another width the model fails with {type(error).__name__}: {first[:200]}'
        return None

    def _agree(self, sets: Mapping[str, Any], dtype: torch.dtype | None) -> bool | None:
        """Whether slices and zeros agree; None where the numbers are too close to tell in this precision."""
        tensors = _tensors(self.model, dtype)
        example = self.example.map(lambda t: t.to(dtype) if dtype and t.is_floating_point() else t)
        whole = _leaves(call_with(self.model, tensors, example.args, example.kwargs))
        sliced = _leaves(self.run_slices(sets, example, dtype))
        masked = _leaves(call_with(self.model, _masked(self.graph, tensors, sets), example.args, example.kwargs))
        if [leaf.shape for leaf in sliced] != [leaf.shape for leaf in whole]:
            return False
        error, effect, scale = 0.0, 0.0, 0.0
        for w, s, m in zip(whole, sliced, masked):
            if w.numel() and w.is_floating_point():
                error = max(error, float((s - m).abs().max()))
                effect = max(effect, float((w - m).abs().max()))
                scale = max(scale, float(w.abs().max()))
        precision = torch.finfo(whole[0].dtype).eps if whole and whole[0].is_floating_point() else 0.0
        if not np.isfinite(error + effect + scale):
            return None if dtype is None else True
        if error <= 1e-2 * effect:
            return True
        if dtype is None and effect < 1e4 * precision * scale:
            return None
        return error <= 1e4 * precision * scale

    def _unordered(self, labels: Sequence[str]) -> bool:
        """Whether the full model gives the same when the channels of these groups change places."""
        small = sum(parameter.numel() for parameter in self.model.parameters()) < _LARGE
        tensors = _tensors(self.model, torch.float64 if small else None)
        example = self.example.map(lambda t: t.double() if small and t.is_floating_point() else t)
        if self._in_order is None:
            self._in_order = _leaves(call_with(self.model, tensors, example.args, example.kwargs))
        moved = _permuted(self.graph, tensors, labels, self.rng)
        for before, after in zip(self._in_order, _leaves(call_with(self.model, moved, example.args, example.kwargs))):
            if before.numel() and before.is_floating_point():
                error = float(
                    (before - after).abs().max() / before.abs().max().clamp_min(torch.finfo(before.dtype).tiny)
                )
                if np.isfinite(error) and error > 1e4 * torch.finfo(before.dtype).eps:
                    return False
        return True

    def run_slices(self, sets: Mapping[str, Any], example: ExampleInput, dtype: torch.dtype | None = None) -> Any:
        """Call the model on the slices that channel sets select; its buffers stay as they are."""
        selection = Selection(self.graph, sets, _device(self.model))
        tensors = _tensors(self.model, dtype)
        sliced = {
            name: take(tensor, selection.positions[name]) if name in selection.positions else tensor
            for name, tensor in tensors.items()
        }
        if self.model.training:
            sliced.update({name: sliced[name].clone() for name, _ in self.model.named_buffers()})
        with using_attributes(self.model, selection.attributes(self.model)):
            return call_with(self.model, sliced, example.args, example.kwargs)


def _with_measured_macs(model: nn.Module, graph: ChannelGraph, example: ExampleInput, checks: _Checks) -> ChannelGraph:
    """Add the MACs of operators that no rule counts, where they are the same at every width."""
    if not graph.groups:
        return graph
    sets = random_channel_sets(graph, graph.labels, checks.rng)
    differences = []
    checks.graph = graph
    for chosen in ({}, sets):
        counter = FlopCounterMode(display=False)
        with counter, _without_fused_attention():
            checks.run_slices(chosen, example)
        widths = [len(chosen.get(group.label, range(group.width))) for group in graph.groups]
        measured = counter.get_total_flops() // 2 // example.batch_size
        differences.append(measured - int(graph.cost.macs_of(np.array([widths], dtype=np.int64))[0]))
    if differences[0] != differences[1]:
        _logger.warning('The counted MACs and the cost model differ by %d and %d at two widths.', *differences)
    if min(differences) <= 0:
        return graph
    macs = graph.cost.macs
    degree = macs.factors.shape[1]
    constant = Polynomial(
        np.append(macs.constants, min(differences)),
        np.vstack([macs.factors, np.full((1, degree), -1, dtype=np.int64)]),
    )
    return replace(graph, cost=replace(graph.cost, macs=constant))


@contextlib.contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Keep modules of torch from their fused kernels for attention, whose products no counter sees."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _tensors(model: nn.Module, dtype: torch.dtype | None) -> dict[str, Tensor]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _masked(graph: ChannelGraph, tensors: Mapping[str, Tensor], sets: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the full tensors with everything that was not selected set to zero."""
    selection = Selection(graph, sets, next(iter(tensors.values())).device if tensors else 'cpu')
    masked = dict(tensors)
    for name, positions in selection.positions.items():
        if name in tensors and any(position is not None for position in positions):
            masked[name] = torch.zeros_like(tensors[name])
            put(masked[name], positions, take(tensors[name], positions))
    return masked


def _permuted(
    graph: ChannelGraph, tensors: Mapping[str, Tensor], labels: Sequence[str], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the full tensors with the channels of some groups in another order, the same everywhere."""
    orders = {index: rng.permutation(group.width) for index, group in enumerate(graph.groups) if group.label in labels}
    places = []
    for layout in graph.layouts:
        place = np.arange(len(layout))
        for index, order in orders.items():
            own = np.flatnonzero(layout.groups == index)
            if len(own):
                by_channel = own[np.argsort(layout.channels[own], kind='stable')].reshape(len(order), -1)
                place[by_channel] = by_channel[order]
        places.append(torch.from_numpy(place))
    permuted = dict(tensors)
    for name, indices in graph.dims.items():
        for axis, layout_index in enumerate(indices):
            if name in permuted and layout_index is not None:
                permuted[name] = permuted[name].index_select(axis, places[layout_index].to(permuted[name].device))
    return permuted


def _leaves(output: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _device(model: nn.Module) -> torch.device:
    tensor = next(model.parameters(), None)
    return torch.device('cpu') if tensor is None else tensor.device
