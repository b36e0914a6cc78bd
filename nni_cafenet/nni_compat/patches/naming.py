"""Experiments without a name are named by their strategy, so that ``nnictl experiment list`` tells them apart.

Fault in NNI: an experiment whose configuration has no ``experiment_name`` is listed as ``None``. A strategy with a method
``name_of(model_space)`` gives a name, such as ``'ResNet at 50%'``.
"""

from __future__ import annotations

import functools
from typing import Any

from nni.nas.experiment import NasExperiment

__all__ = ['name_experiments']

_given: set[str] = set()
"""Names that were given here: another experiment with the same configuration gets its own."""


def name_experiments() -> None:
    """Make NAS experiments take a missing name from their strategy."""
    released = NasExperiment.__init__
    if getattr(released, 'names', False):
        return

    @functools.wraps(released)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        released(self, *args, **kwargs)
        name_of = getattr(self.strategy, 'name_of', None)
        if name_of is not None and self.config.experiment_name in (None, *_given):
            self.config.experiment_name = name_of(self.model_space)
            _given.add(self.config.experiment_name)

    init.names = True  # type: ignore[attr-defined]
    NasExperiment.__init__ = init  # type: ignore[method-assign]
