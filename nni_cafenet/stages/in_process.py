"""The stages of a run, executed in the main process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace, ModelStatus
from tqdm.auto import tqdm

from ..ranks import is_first
from ..search import Scored
from ..utils import resume_hint
from .context import StageContext
from .finalists import Finalist, TrainedFinalist, trainings_title
from .folder import RunFolder
from .limits import check_trainings
from .scores_over_ranks import scores_over_ranks
from .time_left import TimeLeft
from .train_finalists import read_result

__all__ = ['InProcess', 'Stages']


class Stages(Protocol):
    """How a run executes its stages: in the main process, or as trials of a training service."""

    def train_supernet(self) -> None:
        """Train the supernet, or resume from its checkpoint."""

    def score(self, batch: Sequence[Mapping[str, int]], /) -> Iterator[Scored]:
        """Score a batch of widths; yield results in order."""

    def expected(self, widths: int, /) -> str:
        """Return the time that scoring widths is expected to take, for a progress bar; ``''`` if unknown."""

    def train_finalists(self, finalists: Sequence[Finalist], /) -> Iterator[TrainedFinalist]:
        """Train finalists; yield each one whose training finishes."""

    def close(self) -> None:
        """Release resources after the end or an interruption of the run."""

    @property
    def resume_hint(self) -> str:
        """A sentence that tells users how to resume the run."""


class InProcess:
    """Executes the stages in this process, by NNI's ``engine``; ``times`` estimates how long they take."""

    def __init__(
        self, context: StageContext, folder: RunFolder, engine: ExecutionEngine, times: TimeLeft | None = None
    ) -> None:
        self.context = context
        self.folder = folder
        self.engine = engine
        self._times = times

    def train_supernet(self) -> None:
        """Train the supernet, or resume from its checkpoint."""
        supernet = self.context.supernet

        def fit() -> None:
            check_trainings(self.engine)
            self.engine.submit_models(supernet.model_space())

        supernet.train(self.folder, fit, [] if self._times is None else [self._times.clock()])
        if self._times is not None:
            self._times.resumed()

    def score(self, batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        """Score a batch of widths, each rank its share; yield results in order."""
        score = self.context.scorer.score
        return scores_over_ranks(score if self._times is None else self._times.watched(score), batch)

    def expected(self, widths: int) -> str:
        """Return the time that scoring widths is expected to take, for a progress bar."""
        return '' if self._times is None else self._times.of_search(widths)

    def train_finalists(self, finalists: Sequence[Finalist]) -> Iterator[TrainedFinalist]:
        """Train finalists one after the other; those that an earlier run has trained take no place under its limit."""
        title, hint, hidden = trainings_title(finalists), self._hint(finalists), not finalists or not is_first()
        with tqdm(
            total=len(finalists), desc=title, unit='network', dynamic_ncols=True, disable=hidden, postfix=hint
        ) as bar:
            for finalist in finalists:
                result = self._trained(finalist)
                if result is not None:
                    yield result
                bar.set_postfix_str('', refresh=False)
                bar.update()

    def _trained(self, finalist: Finalist) -> TrainedFinalist | None:
        """Train a finalist, or read its result; None if the engine has ended."""
        train = partial(self.context.train_finalist, finalist, self.folder)
        if self._is_trained(finalist):
            return train()
        check_trainings(self.engine)
        call = _Call(train)
        self.engine.submit_models(call)
        return call.result

    def _is_trained(self, finalist: Finalist) -> bool:
        return read_result(finalist, self.folder.training(finalist.folder, finalist.epochs)) is not None

    def _hint(self, finalists: Sequence[Finalist]) -> str | None:
        """Return the time that full trainings are expected to take."""
        left = [each for each in finalists if each.epochs is None and not self._is_trained(each)]
        return None if self._times is None else self._times.of_finalists(len(left)) or None

    @property
    def resume_hint(self) -> str:
        """A sentence that tells users how to resume the run."""
        return resume_hint(self.folder.path)

    def close(self) -> None:
        """Do nothing."""


class _Call(ExecutableModelSpace):
    """A finalist's training in the form that NNI's engines execute, with a channel for results."""

    def __init__(self, call: Callable[[], TrainedFinalist]) -> None:
        super().__init__(ModelStatus.Frozen)
        self.evaluator = None
        self.sample = None
        self._call = call
        self.result: TrainedFinalist | None = None

    def extra_repr(self) -> str:
        return ''

    def execute(self) -> None:
        self.result = self._call()
