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

__all__ = ['InProcess', 'Stages']


class Stages(Protocol):
    """How a run executes its stages: in the main process, or as trials of a training service."""

    def train_supernet(self) -> None:
        """Train the supernet, or resume from its checkpoint."""

    def score(self, batch: Sequence[Mapping[str, int]], /) -> Iterator[Scored]:
        """Score a batch of widths; yield results in order."""

    def train_finalists(self, finalists: Sequence[Finalist], /) -> Iterator[TrainedFinalist]:
        """Train finalists; yield each one whose training finishes."""

    def close(self) -> None:
        """Release resources after the end or an interruption of the run."""

    @property
    def resume_hint(self) -> str:
        """A sentence that tells users how to resume the run."""


class InProcess:
    """Executes the stages in this process, by NNI's ``engine``."""

    def __init__(self, context: StageContext, folder: RunFolder, engine: ExecutionEngine) -> None:
        self.context = context
        self.folder = folder
        self.engine = engine

    def train_supernet(self) -> None:
        """Train the supernet, or resume from its checkpoint."""
        supernet = self.context.supernet

        def fit() -> None:
            check_trainings(self.engine)
            self.engine.submit_models(supernet.model_space())

        supernet.train(self.folder, fit)

    def score(self, batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        """Score a batch of widths, each rank its share; yield results in order."""
        return scores_over_ranks(self.context.scorer.score, batch)

    def train_finalists(self, finalists: Sequence[Finalist]) -> Iterator[TrainedFinalist]:
        """Train finalists one after the other."""
        title, hidden = trainings_title(finalists), not finalists or not is_first()
        for finalist in tqdm(finalists, desc=title, unit='network', dynamic_ncols=True, disable=hidden):
            check_trainings(self.engine)
            call = _Call(partial(self.context.train_finalist, finalist, self.folder))
            self.engine.submit_models(call)
            if call.result is not None:
                yield call.result

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
