"""Find which attributes of a model's modules are widths, by real forwards at another width.

If a forward fails, the modules whose code was running are searched, innermost first, for attributes that may be widths
(`candidates`). One, two, three, then all of them follow, in every module of the class; what takes the forward further is
kept. Nothing found is trusted: the model is verified again afterwards (`repair`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from ...graph import Attribute, ChannelGraph
from ...utils import pass_on
from ..running_modules import Lines, running_modules
from .failing_call import FailingCall, watch_calls
from .width_attributes import Options, Shares, candidates, distinct

__all__ = ['AttributeSearch', 'DeadEnds', 'Run']

_MOST_AT_A_PLACE = 32
"""Most trials for one place in a model's code."""

_MOST = 128
"""Most trials for one model; a trial is one forward, or one call of the failing module."""

_TOGETHER = 3
"""Attributes tried together, before all at once."""

Progress = tuple[int, Lines]
"""How far a forward got: the modules that returned, and the lines that a module's code had reached."""

_DONE = (2**62, (0,))

Place = tuple[type, Lines]
"""A class of modules, and the lines that its code had reached."""

DeadEnds = set[tuple[Place, Place]]
"""Places at which no attribute helped, each with the innermost place of the same failure."""


class Run(Protocol):
    """A forward on slices; or ``instead()``, with the same slices and attributes in place."""

    def __call__(self, graph: ChannelGraph, *, instead: Callable[[], object] | None = None) -> object:
        """Run the model, or what is given instead."""


class AttributeSearch:
    """Attributes that follow widths, found one failing place of the model's code at a time.

    Parameters
    ----------
    model, graph
        The model and its channel graph; others that are given later differ in their attributes alone.
    dead_ends
        What searches with other readings of the model have found; this one adds to it.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, dead_ends: DeadEnds | None = None) -> None:
        self.model = model
        self.shares = Shares(graph)
        self.dead_ends = set() if dead_ends is None else dead_ends
        self.modules = dict(model.named_modules())
        self.left = _MOST
        self._done = 0
        self._wrong: set[tuple[Attribute, ...]] = set()
        self._hopeless: set[tuple[Place, ...]] = set()

    def forbid(self, graph: ChannelGraph) -> None:
        """Never return a graph with these attributes again: the model runs with them, but computes something else."""
        self._wrong.add(graph.attributes)

    def advance(self, graph: ChannelGraph, run: Run, again: Run) -> ChannelGraph | None:
        """Make attributes follow so that a forward gets further, and another one as well; None if none are found.

        What does not take the failing module further is found by calling this module alone.
        """
        if self.left <= 0:
            return None
        self.left -= 1
        error = self._try(graph, run)
        if error is None:
            return graph
        done = self._done
        places = self._places(error)
        key = tuple((type(self.modules[path]), line) for path, line in places)
        if not places or key in self._hopeless:
            return None
        searched = False
        for (path, line), place in zip(places, key):
            dead_end = (place, key[0])
            if searched and dead_end in self.dead_ends:
                continue
            start = (done, line)
            best, furthest = None, start
            trials = list(itertools.islice(self._trials(graph, path), _MOST_AT_A_PLACE))
            failing = self._failing_call(graph, path, run) if trials else None
            searched = searched or bool(trials)
            for size, attributes, alike in trials:
                if best is not None and size > best[0]:
                    break
                for together in (alike, attributes):
                    trial = replace(graph, attributes=(*graph.attributes, *together))
                    if trial.attributes in self._wrong:
                        continue
                    reached = self._reached(trial, path, run, failing)
                    if reached > furthest:
                        reached = min(reached, self._reached(trial, path, again))
                    if reached > furthest:
                        best, furthest = (size, trial), reached
                    if reached > start or alike == attributes:
                        break
                if furthest == _DONE:
                    break
            if best is not None:
                return best[1]
            if self.left > 0:
                self.dead_ends.add(dead_end)
        self._hopeless.add(key)
        return None

    def _trials(self, graph: ChannelGraph, path: str) -> Iterator[tuple[int, list[Attribute], list[Attribute]]]:
        """Yield how many attributes are tried, what they follow, and the same in all modules of the class."""
        found = candidates(graph, self.shares, path, self.modules[path])
        kind = type(self.modules[path])
        others = [
            candidates(graph, self.shares, other, module)
            for other, module in self.modules.items()
            if found and type(module) is kind and other != path
        ]
        for names, label in _along_cuts(found):
            attributes = [attribute for name in names for attribute in found[name][label]]
            alike = [a for o in others for name in names for a in o.get(name, {}).get(label, ())]
            yield 1, attributes, [*attributes, *alike]
        for size in sorted({*range(1, min(_TOGETHER, len(found)) + 1), len(found)} - {0}):
            for names in itertools.combinations(found, size):
                for labels in itertools.product(*(distinct(self.shares, found[name]) for name in names)):
                    chosen = list(zip(names, labels))
                    attributes = [attribute for name, label in chosen for attribute in found[name][label]]
                    alike = [a for o in others for name, label in chosen for a in o.get(name, {}).get(label, ())]
                    yield size, attributes, [*attributes, *alike]

    def _failing_call(self, graph: ChannelGraph, path: str, run: Run) -> FailingCall | None:
        """Run the model once more, and return the call of the module at ``path`` in which it fails."""
        if not path or self.left <= 0:
            return None
        with watch_calls(self.modules[path], lambda: self._done) as running:
            self._try(graph, run)
        return running[-1] if running else None

    def _reached(self, graph: ChannelGraph, path: str, run: Run, failing: FailingCall | None = None) -> Progress:
        if self.left <= 0:
            return 0, ()
        self.left -= 1
        if failing is not None:
            error = self._try(graph, partial(run, instead=failing.repeat))
            if error is not None:
                return failing.progress + self._done, dict(self._places(error)).get(path, ())
        error = self._try(graph, run)
        return _DONE if error is None else (self._done, dict(self._places(error)).get(path, ()))

    def _try(self, graph: ChannelGraph, run: Run) -> Exception | None:
        """Run the model; return its error. `_done` is how many modules returned."""
        self._done = 0
        with contextlib.closing(_Hook(self._count)):
            try:
                run(graph)
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                pass_on(error)
                return error
        return None

    def _count(self, *_: object) -> None:
        self._done += 1

    def _places(self, error: Exception) -> list[tuple[str, Lines]]:
        """Return the modules whose code was running when an error was raised and the lines of each, innermost first."""
        return list(running_modules(error, self.model).items())


def _along_cuts(found: Mapping[str, Options]) -> Iterator[tuple[list[str], str]]:
    """Yield attributes that are the sizes of parts of one dimension, with what they follow: the parts of one cut."""
    for label in sorted({label for options in found.values() for label in options if label.startswith('part ')}):
        along: dict[tuple[str, int], list[str]] = {}
        for name, options in found.items():
            if label in options:
                along.setdefault((options[label][0].parameter, options[label][0].axis), []).append(name)
        yield from ((names, label) for names in along.values() if len(names) > 1)


class _Hook:
    """A hook on the calls of all modules, that can be closed."""

    def __init__(self, called: Callable[..., None]) -> None:
        self.handle = register_module_forward_hook(called)

    def close(self) -> None:
        self.handle.remove()
