"""NNI strategies that run in stages: checks, the folder of a run, the order of the stages, also when a run continues."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni.nas.strategy  # noqa: F401  (before nni.nas.oneshot: otherwise NNI loses its one-shot strategies)
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from nni.nas.space import ExecutableModelSpace

from ..errors import LimitReachedError, RunInterrupted
from ..fingerprints import digest, record_of
from ..options import BudgetSpecs, FinalistOptions
from ..ranks import from_first, is_first, meet, named_lost_ranks, on_all, quiet_unless_first
from ..search import Budget, History
from ..space import WidthSpace
from ..stages import (
    Finalist,
    InProcess,
    Metric,
    RunFolder,
    RunOptions,
    StageContext,
    Stages,
    TimeLeft,
    check_before_training,
    check_directory,
    check_ranks,
    check_shared,
    check_supernet,
    restore_first_seeds,
    stages_record,
    table_of_run,
    within_duration,
)
from ..supernet import check_evaluator
from ..trials import check_serializable
from ..utils import absolute_path, check_path, resume_hint, sigterm_as_interrupt
from .engine import default_directory, is_sequential, width_space
from .finalist_trainings import FinalistTrainings
from .result import RunResult
from .result_file import remove_result
from .run_records import budgets_record, finalists_record
from .with_result import WithResult, known

__all__ = ['StagedStrategy']

_logger = logging.getLogger(__name__)


class StagedStrategy(WithResult, OneShotStrategy):
    """A search of widths as an NNI strategy. Subclasses say what the stages do; `CafeNet` describes the options."""

    def __init__(
        self,
        budget: Any,
        *,
        options: RunOptions,
        finalists: FinalistOptions,
        finalist_evaluator: Any = None,
        directory: str | os.PathLike[str] | None = None,
        trial_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.budget_specs = BudgetSpecs.of(budget)
        self.options = options
        self.finalist_options = finalists
        self.finalist_evaluator = finalist_evaluator
        self.directory = None if directory is None else check_path('directory', directory)
        self.trial_directory = (
            None if trial_directory is None else os.fspath(check_path('trial_directory', trial_directory))
        )
        self._budgets: list[Budget] = []
        self._context: StageContext | None = None
        self._asked: StageContext | None = None
        self._finished = False
        self.begun = False
        self.interruption: RunInterrupted | None = None

    _keeps_choice = True
    """Whether a resumed run takes the finalists that were chosen before."""

    # --- what subclasses say ----------------------------------------------------------------------

    def _prepare(self, stages: Stages) -> None:
        """Do what comes before widths are scored."""

    def _find(self, folder: RunFolder, stages: Stages, trainings: FinalistTrainings) -> None:
        """Find widths, and keep them in the history of the result."""
        raise NotImplementedError

    def _choose_finalists(self, stages: Stages, trainings: FinalistTrainings) -> list[Finalist]:
        """Return the networks to be trained at the end."""
        raise NotImplementedError

    def _search_record(self) -> dict[str, Any]:
        """Return what the search depends on besides scores and budgets."""
        raise NotImplementedError

    def _supernet_record(self) -> dict[str, Any]:
        """Return what the supernet depends on; a folder with another record is refused."""
        return self._as_asked().supernet_record()

    def _scores_record(self) -> dict[str, Any]:
        """Return what scores depend on besides the supernet; other scores get their own history."""
        return self._as_asked().scores_record()

    def _take_over(self, directory: Path, supernet: Mapping[str, Any]) -> None:
        """Fill the folder of a run that has not begun with what another run has done."""

    def _settle_sizes(self, directory: Path) -> dict[str, int]:
        """Settle the sizes of the run that were left open; return those to be recorded for later starts."""
        return {}

    def _make_result(self, **common: Any) -> RunResult:
        """Return the result of the run, still empty."""
        return RunResult(**common)

    def name_of(self, model: Any) -> str:
        """Return the name of an experiment that has none: its model and budgets, for ``nnictl experiment list``."""
        kind = type(model.full_model if isinstance(model, WidthSpace) else model).__name__
        return f'{kind} at {", ".join(spec.name for spec in self.budget_specs)}'

    # --- before anything runs ---------------------------------------------------------------------

    def mutate_model(self, model: Any) -> Any:
        """Check that a model is a width space, and return it: its ``state_dict`` stays that of the user's model.

        Choose what runs with ``activate(widths, channel_sets)``.
        """
        if not isinstance(model, WidthSpace):
            raise TypeError(
                f'{type(self).__name__} searches a WidthSpace, not {type(model).__name__}. Make one of your model: '
                'WidthMutator().mutate(model, example_input=...).'
            )
        return model

    def mutate_evaluator(self, evaluator: Any) -> Any:
        """Refuse: the stages train with the evaluator as it is."""
        raise TypeError(
            f'{type(self).__name__} mutates no evaluator and has no mutation hooks: its stages train with the evaluator '
            'as it is. Run NasExperiment(space, evaluator, strategy), or choose widths: space.activate(widths).'
        )

    @named_lost_ranks()
    def _initialize(self, model_space: ExecutableModelSpace, engine: Any) -> ExecutableModelSpace:  # type: ignore[override]
        space = self.mutate_model(width_space(model_space, engine))
        self._check_folders()
        for spec in self.budget_specs:
            Budget.check(spec, space)
        evaluator = model_space.evaluator
        if is_sequential(engine):
            check_evaluator(evaluator)
            meet(evaluator.trainer)
        else:
            self._check_travels(space, evaluator)
        self._context = context = StageContext(
            space, evaluator, self.options, self.finalist_options, self.finalist_evaluator, self.budget_names
        )
        try:
            with sigterm_as_interrupt():
                context.finalists = on_all(lambda: check_before_training(context))
        except KeyboardInterrupt as error:
            raise self._interrupted(error, 'The run has not begun. Start it again.') from None
        for spec in self.budget_specs:
            check_directory(spec, self.directory, context.supernet.trainer)
        if self.directory is None:
            self.directory = from_first(lambda: absolute_path(default_directory(engine, context)))
        self._mutated_model_space = context.supernet.model_space()
        return self._mutated_model_space

    def _check_folders(self) -> None:
        """Refuse folders that cannot be read."""

    def _check_travels(self, space: WidthSpace, evaluator: Any) -> None:
        """Refuse objects that cannot be sent to trials, before the first one starts."""
        others = {'finalist_evaluator': self.finalist_evaluator, 'score_data': self.options.score_data}
        check_serializable(space, evaluator, **{name: value for name, value in others.items() if value is not None})

    # --- the run ----------------------------------------------------------------------------------

    def _run(self) -> None:
        self.begun = True
        with sigterm_as_interrupt(), named_lost_ranks(), quiet_unless_first():
            try:
                folder = self._opened_folder()
                _logger.info('The run is kept in %s; started again with this directory, it continues.', folder.path)
                with folder.held():
                    self._do(folder, self._stages(folder))
            except RunInterrupted:
                raise
            except KeyboardInterrupt as error:
                raise self._interrupted(error, resume_hint(known(self.directory))) from None

    def _do(self, folder: RunFolder, stages: Stages) -> None:
        seconds = self.engine.max_duration if is_sequential(self.engine) else None
        try:
            with within_duration(seconds):
                self._do_stages(folder, stages)
        except LimitReachedError as error:
            _logger.warning('%s', error)
        except KeyboardInterrupt as error:
            raise self._interrupted(error, stages.resume_hint) from None
        else:
            self._finished = True
        finally:
            stages.close()

    def _do_stages(self, folder: RunFolder, stages: Stages) -> None:
        self._prepare(stages)
        self._result = result = self._begun_result(folder)
        trainings = FinalistTrainings(known(self._context), self._as_asked(), folder, stages, result)
        self._find(folder, stages, trainings)
        if self.finalist_options.number:
            trainings.train(lambda: self._choose_finalists(stages, trainings), keep_choice=self._keeps_choice)
        else:
            trainings.train(list, keep_choice=False)  # ends the trials of the search
        if self._is_first:
            result.save(folder.history)

    def _interrupted(self, error: KeyboardInterrupt, how_to_continue: str) -> RunInterrupted:
        """Return the error that names the interruption and how to continue; NNI's ``run`` raises it."""
        self.interruption = RunInterrupted(f'{str(error) or "Interrupted."} {how_to_continue}')
        return self.interruption

    def _stages(self, folder: RunFolder) -> Stages:
        context: StageContext = known(self._context)
        if is_sequential(self.engine):
            return InProcess(context, folder, self.engine, self._time_left(folder))
        from ..trials import AsTrials

        return AsTrials(context, folder, self.engine, self.trial_directory)

    def _time_left(self, folder: RunFolder) -> TimeLeft | None:
        """Return an estimate of the time of the stages, if there is one."""
        return None

    def _begun_result(self, folder: RunFolder) -> RunResult:
        context: StageContext = known(self._context)
        higher = self.options.higher_is_better
        history = from_first(lambda: History(folder.history, higher_is_better=higher))
        if self._is_first:
            remove_result(folder.path)
        else:
            history.path = None  # the first process writes
        return self._make_result(
            space=context.space,
            directory=folder.path,
            budgets=self._budgets,
            budget_names=self.budget_names,
            score=self.options.score,
            metric=context.metric,
            short_metric=context.short_metric,
            seed=self.options.seed,
            history=history,
        )

    @property
    def _is_first(self) -> bool:
        """Whether this is the process of several that writes."""
        return bool(known(self._context).supernet.trainer.is_global_zero)

    # --- the folder of the run --------------------------------------------------------------------

    def _opened_folder(self) -> RunFolder:
        """Return the folder of the run; budgets are in the space's amounts from here on, measured latencies too."""
        context, directory = known(self._context), known(self.directory)
        trainer = context.supernet.trainer
        sizes = self._settle_sizes(directory)
        supernet = self._supernet_record()
        check_ranks(supernet)
        from_first(lambda: self._take_over(directory, supernet))
        on_all(lambda: check_supernet(directory / 'run.json', supernet))
        self._budgets = [
            Budget.parse(spec, context.space, table_of_run(spec, context.space, directory, trainer))
            for spec in self.budget_specs
        ]
        record = stages_record(
            supernet=supernet,
            scores=self._scores_record(),
            search={**budgets_record(self._budgets, several=self.budget_specs.several), **self._search_record()},
            finalists=finalists_record(self.finalist_options, self._as_asked()),
            weights=digest(record_of(context.space.state_dict())),
            sizes=sizes,
        )
        check_ranks({**record, 'weights': ''})  # those of the first process count
        folder = from_first(lambda: RunFolder(directory, record, make=trainer.is_global_zero))
        check_shared(folder.path / 'run.json')
        return folder if is_first() else folder.for_reading()

    def _as_asked(self) -> StageContext:
        """Return the context with the data of the run; if trials do the work, the data of its start."""
        if self._asked is None:
            context, folder = known(self._context), RunFolder(known(self.directory))
            self._asked = context
            if not is_sequential(self.engine) and folder.setup.exists():
                now = context.dump()
                text = restore_first_seeds(folder.read_setup(), now)
                if json.loads(text) != json.loads(now):
                    self._asked = context.with_evaluators_of(text)
        return self._asked

    # --- what is known of the run -----------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the run has ended by itself: not by an interruption, nor by a limit of the experiment."""
        return self._finished

    @property
    def budgets(self) -> list[Budget]:
        """The budgets in the space's amounts, one or several; none before the run."""
        return list(self._budgets)

    @property
    def budget_names(self) -> list[str | None]:
        """The names of several budgets, such as ``['75%', '50%']``; ``[None]`` for one alone."""
        return self.budget_specs.names

    @property
    def metric(self) -> Metric:
        """What trained finalists are ranked by."""
        context: StageContext = known(self._context)
        return context.metric

    @property
    def _space(self) -> WidthSpace:
        context: StageContext = known(self._context)
        return context.space

    def state_dict(self) -> dict[str, Any]:
        """Return the run's folder: the state itself is kept there."""
        return {} if self.directory is None else {'directory': str(self.directory)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume the run of another process."""
        if 'directory' in state_dict:
            self.directory = Path(state_dict['directory'])
