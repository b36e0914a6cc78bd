"""Scored widths in the web UI, as trials of their own that have ended (see ``nni_compat/patches/records.js``)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from nni.nas.space import ExecutableModelSpace, ModelStatus

from ..search import Scored
from ..space import mutation_summary
from ..stages import StageContext
from .runner import TrialRunner
from .tasks import rounded, shown_value

__all__ = ['EndedTrial', 'ShownScores']

_AS_MANY = 50
"""Widths that are shown before the search gets a coarser view: the best of 1, of 2, of 3, ..."""


class EndedTrial(ExecutableModelSpace):
    """A result without a process, which NNI's manager keeps like a trial that has succeeded."""

    def __init__(self, summary: Mapping[str, Any], details: Mapping[str, Any], ended: Mapping[str, Any]) -> None:
        super().__init__(ModelStatus.Trained)
        self.evaluator = None
        self.sample = None
        self._record = {'mutation_summary': dict(summary), 'details': dict(details), 'ended': dict(ended)}

    def _dump(self) -> dict[str, Any]:
        return {**self._record, 'name': 'widths'}

    @classmethod
    def _load(cls, **parts: Any) -> EndedTrial:
        return cls(parts['mutation_summary'], parts['details'], parts['ended'])

    def extra_repr(self) -> str:
        """Return its final result."""
        return repr(self._record['ended'])


class ShownScores:
    """Shows the best of every few scored widths in the web UI, as they are scored.

    First every width is shown, later the best of 2, of 3, and so on, so that a search of 1000 widths shows about 300.
    Widths whose score is a loss are shown by the metric of the finalists, so that one axis has one unit; without it (see
    `ShownMetric`), none are.
    """

    def __init__(self, runner: TrialRunner, context: StageContext) -> None:
        self.runner = runner
        self.context = context
        self._recent: list[tuple[Scored, float]] = []  # with the value shown
        self._since = time.time()

    def add(self, scored: Scored) -> None:
        """Show a width, or a better one of those scored since the last one that was shown."""
        value = shown_value(self.context, scored)
        if math.isnan(scored.score) or value is None:
            return
        self._recent.append((scored, value))
        if len(self._recent) > self.runner.records // _AS_MANY:
            sign = 1 if self.context.options.higher_is_better else -1
            self._show(*max(self._recent, key=lambda each: sign * each[0].score))
            self._recent.clear()

    def _show(self, scored: Scored, value: float) -> None:
        start, end = self._since, time.time()
        final = {'default': rounded(value), 'score': rounded(scored.score)}
        self.runner.show(
            EndedTrial(
                mutation_summary(self.context.space, scored.widths, stage='search'),
                {'widths': scored.widths, 'MACs': scored.macs, 'params': scored.params},
                {'start': round(1000 * start), 'end': round(1000 * end), 'final': final},
            )
        )
        self._since = end
