"""Which groups of a channel graph can the model really change?

At random widths and random channel sets the model runs on slices of its tensors, as the slim model will, and is compared:

- where no operator mixes channels, with the full model with zeros in place of what was not selected (`masks`);
- elsewhere, with the full model in another order of channels (`channel_order`);
- in training mode, if the model behaves otherwise there (`training_mode`).

Its MACs must be those that the cost model expects.

A group that fails is fixed, unless the model passes once attributes of its modules follow the widths (`repair`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import nn

from ...graph import ChannelGraph, ExampleInput
from .attribute_search import AttributeSearch, DeadEnds
from .batch_dimension import with_known_batch
from .bisection import failing_groups, of_their_kinds
from .draw import random_channel_sets
from .forwards import Forwards
from .parameter_masks import ParameterMasks
from .random_widths import RandomWidths
from .repair import repaired_graph
from .training_mode import InTrainingMode
from .unmodeled_macs import costs_otherwise, with_unmodeled_macs

__all__ = ['Repaired', 'beyond_masks', 'confirmed', 'repaired', 'verify_groups', 'warn_of']

_logger = logging.getLogger(__name__)

_OTHER_MACS = 'at another width the network takes other MACs than the analysis expects'


def verify_groups(
    model: nn.Module,
    graph: ChannelGraph,
    example: ExampleInput,
    seed: int = 0,
    *,
    quiet: bool = False,
    dead_ends: DeadEnds | None = None,
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
    quiet
        Leave the warnings to the caller.
    dead_ends
        What `verify_groups` and `repaired` have found out about other readings of this model; they add to it.
    """
    questions = _Questions(model, graph, with_known_batch(example, model), seed, dead_ends=dead_ends)
    with questions.forwards.running():
        reasons = failing_groups(list(graph.labels), questions.failure, questions.repair, questions.suspects)
        if not quiet:
            warn_of(reasons)
        return with_unmodeled_macs(questions.graph.with_fixed(reasons), questions.forwards, questions.rng)


def warn_of(reasons: Mapping[str, str]) -> None:
    """Warn of groups that keep their width, given as ``{label: why}``."""
    for label, reason in reasons.items():
        _logger.warning('The channels of %s keep their width: %s.', label, reason)


def confirmed(model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0) -> ChannelGraph | None:
    """Return the verified graph if the model can really change all its groups together; None if not.

    Unlike `verify_groups`, this does not look for the failing groups.
    """
    questions = _Questions(model, graph, example, seed)
    with questions.forwards.running():
        if questions.failure(list(graph.labels)) is not None:
            return None
        return with_unmodeled_macs(graph, questions.forwards, questions.rng)


class Repaired(NamedTuple):
    """The verified graph, or None, and the groups where the model fails then, with all others of their kinds."""

    graph: ChannelGraph | None
    suspects: list[str]


def repaired(
    model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0, dead_ends: DeadEnds | None = None
) -> Repaired:
    """Verify a graph, with attributes of modules following widths, as `confirmed` does."""
    questions = _Questions(model, graph, example, seed, dead_ends=dead_ends)
    with questions.forwards.running():
        labels = list(graph.labels)
        if questions.failure(labels) is not None and not questions.repair(labels):
            return Repaired(None, of_their_kinds(labels, questions.suspects()))
        return Repaired(with_unmodeled_macs(questions.graph, questions.forwards, questions.rng), [])


def beyond_masks(model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0) -> dict[str, str]:
    """Return the groups whose removal zeros in parameters cannot express, ``{label: why}``.

    With every parameter zero wherever it is not selected, and buffers as they are, the full model must compute what the
    slices compute: to 1e-9 of the largest output in float64, to rounding if the model does not run in float64.
    Normalization over cut channels, softmax and numbers that follow a width make a difference.

    Parameters
    ----------
    model, graph, example, seed
        As in `verify_groups`. The graph is verified.
    """
    questions = _Questions(model, graph, example, seed, ParameterMasks)
    with questions.forwards.running():
        return failing_groups(list(graph.labels), questions.failure, lambda _: False, questions.suspects)


class _Questions:
    """The questions, in order, about a graph that a repair may change."""

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        example: ExampleInput,
        seed: int,
        question: type[RandomWidths] = RandomWidths,
        dead_ends: DeadEnds | None = None,
    ) -> None:
        self.graph = graph
        self.rng = np.random.default_rng(seed)
        self._other_rng = np.random.default_rng(seed + 1)
        self.forwards = Forwards(model, graph, example, neighbors_apart=question is RandomWidths)
        self._at_widths = question(self.forwards, graph, self.rng)
        self._search = AttributeSearch(model, graph, dead_ends)
        self._training: InTrainingMode | None = None

    def failure(self, labels: list[str]) -> str | None:
        """Run the model with these groups at several random widths; say what is wrong, or None."""
        self.forwards.counted.restart()
        for _ in range(self._at_widths.draws if labels else 0):
            found = self._at_widths.failure(self.graph, labels)
            if found is not None:
                return found
        if labels and costs_otherwise(self.graph, self.forwards):
            return _OTHER_MACS
        return self._failure_in_training(labels)

    def suspects(self) -> set[str]:
        """Return the groups of the layers inside the module whose code raised the last error, if one did."""
        path = self._at_widths.failed_in
        prefix = f'{path}.' if path else ''
        inside = [
            index
            for name, indices in (self.graph.dims if path is not None else {}).items()
            for index in indices
            if index is not None and name.startswith(prefix)
        ]
        groups = {group for index in inside for group in np.unique(self.graph.layouts[index].groups).tolist()}
        return {self.graph.labels[group] for group in groups if group >= 0}

    def _failure_in_training(self, labels: list[str]) -> str | None:
        forwards, graph = self.forwards, self.graph
        if not labels or not graph.differs_in_training or forwards.recorded or forwards.device.type == 'meta':
            return None
        if self._training is None:
            self._training = InTrainingMode(forwards.model, graph, forwards.example, self.rng)
        return self._training.failure(graph, labels)

    def repair(self, labels: list[str]) -> bool:
        """After a failure with these groups, let attributes follow widths; True if the model then passes."""
        before = self.graph

        def failure(graph: ChannelGraph) -> tuple[str | None, Mapping[str, object] | None]:
            self.graph = graph
            return self.failure(labels), self._at_widths.failed_sets

        with self.forwards.keeping_slices():
            found = repaired_graph(
                self._search,
                before,
                self._at_widths.failed_sets,
                lambda: random_channel_sets(before, labels, self._other_rng),
                lambda sets: partial(self.forwards.run_slices, sets=sets, example=self.forwards.example),
                failure,
            )
        self.graph = before if found is None else found
        return found is not None
