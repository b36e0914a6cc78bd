"""The stages of a run in the main process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from nni.nas.execution import ExecutionEngine
from nni.nas.space import ExecutableModelSpace, ModelStatus
from tqdm.auto import tqdm

from ..search import Scored
from ..utils import resume_hint
from .context import StageContext
from .folder import RunFolder
from .train_finalists import Finalist, TrainedFinalist, trainings_title

__all__ = ['InProcess', 'Stages']


class Stages(Protocol):
    """How the stages of a run are done: in the main process, or as trials of a training service."""

    def train_supernet(self) -> None:
        """Train the supernet, or take up where its checkpoint stands."""

    def score(self, batch: Sequence[Mapping[str, int]], /) -> Iterator[Scored]:
        """Yield the scores of some widths, in their order."""

    def train_finalists(self, finalists: Sequence[Finalist], /) -> Iterator[TrainedFinalist]:
        """Train finalists; yield those whose training has come to its end."""

    def close(self) -> None:
        """Let go of what is left running, whether the run has ended or was interrupted."""

    @property
    def resume_hint(self) -> str:
        """What a user does to resume the run, as a sentence."""


class InProcess:
    """Does the stages here; trainings by NNI's sequential engine.

    Parameters
    ----------
    setup, folder
        The run.
    engine
        Runs the evaluators.
    """

    def __init__(self, setup: StageContext, folder: RunFolder, engine: ExecutionEngine) -> None:
        self.setup = setup
        self.folder = folder
        self.engine = engine

    def train_supernet(self) -> None:
        """Train the supernet, or take up where its checkpoint stands."""
        supernet = self.setup.supernet
        supernet.train(self.folder, lambda: self.engine.submit_models(supernet.model_space()))

    def score(self, batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        """Yield the scores of some widths, in their order."""
        return map(self.setup.scorer.score, batch)

    def train_finalists(self, finalists: Sequence[Finalist]) -> Iterator[TrainedFinalist]:
        """Train finalists one after the other."""
        title = trainings_title(finalists)
        for finalist in tqdm(finalists, desc=title, unit='network', dynamic_ncols=True, disable=not finalists):
            call = _Call(partial(self.setup.train_finalist, finalist, self.folder))
            self.engine.submit_models(call)
            if call.result is not None:
                yield call.result

    @property
    def resume_hint(self) -> str:
        """What a user does to resume the run."""
        return resume_hint(self.folder.path)

    def close(self) -> None:
        """Nothing is left running."""


class _Call(ExecutableModelSpace):
    """The training of a finalist, as NNI's engines run it: with somewhere to report to."""

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
