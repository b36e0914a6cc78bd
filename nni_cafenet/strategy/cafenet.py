"""CafeNet as an NNI strategy: train the supernet, search widths on it, hand out slim models."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nni.nas.strategy  # noqa: F401  (before nni.nas.oneshot: otherwise NNI loses its one-shot strategies)
import numpy as np
from nni.nas.execution import SequentialExecutionEngine, TrainingServiceExecutionEngine
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from nni.nas.space import ExecutableModelSpace, RawFormatModelSpace, SimplifiedModelSpace
from torch import nn

from ..errors import LimitReachedError, RunInterrupted, TrainingDivergedError, shortened
from ..options import BudgetSpecs, FinalistOptions, Halving, SearchOptions, halve
from ..search import (
    Budget,
    Evolution,
    Headroom,
    History,
    Scored,
    Scorer,
    Searcher,
    is_full,
    search_widths,
    uniform_within,
)
from ..space import WidthSpace
from ..stages import (
    BASELINE,
    EqualCost,
    Finalist,
    InProcess,
    Metric,
    RunFolder,
    RunOptions,
    StageContext,
    Stages,
    TrainedFinalist,
    TrainedModel,
    at_once,
    check_directory,
    check_supernet,
    computes_numbers,
    finalist_name,
    finalists_table,
    look_before_training,
    named,
    new_run_path,
    overtraining,
    read_choice,
    read_result,
    stages_record,
    table_of_run,
    widths_table,
    with_first_seeds,
    with_folders,
    with_preset,
    write_choice,
    write_trainings,
)
from ..supernet import Combination, Divergence, Sharing, TrainingOptions, WidthSampling
from ..trials import check_travels
from ..utils import check_instance, check_path, resume_hint, terminations, whole_path
from .searched_model import SearchedModel

__all__ = ['CafeNet']

_logger = logging.getLogger(__name__)


class CafeNet(OneShotStrategy):
    """Network width search by locally free weight sharing (Su et al., ICLR 2021).

    ``NasExperiment(space, evaluator, CafeNet(budget='50%')).run()`` trains the supernet of a `WidthSpace` with the
    evaluator's own recipe (min-min over channel sets), then searches widths under the budget on a held-out part of the
    *training* data. The evaluator's validation data is not touched. ``export_top_models`` gives the best widths
    (``formatter='dict'``) or slim models with the supernet's weights and re-estimated running statistics
    (``formatter='instance'``), best first.

    Parameters
    ----------
    budget
        What the slim model may cost: ``'50%'`` of the full network's MACs, ``'300M'`` or ``3e8`` MACs, or a dict such as
        ``{'macs': '50%', 'params': '5M'}``. Never exceeded. ``{'latency': '5ms', 'device': 'cpu', 'batch': 1}`` (or
        ``'50%'`` of the full network's) limits the time that a `LatencyTable` predicts; it is measured when the run starts,
        and kept in its directory. The real time of a network may exceed it. A list of budgets gives a family of networks
        out of one supernet: widths are searched, and finalists trained, under each of them.
    sharing
        Which channel sets stand for a width; default ``LocallyFree(offset=1)``.
    channel_sets_per_step
        Channel sets that are compared in a training step, 1 or more.
    memory
        What a training step keeps while it compares m channel sets. ``'fast'``: two graphs, that of the best channel set so
        far and that of the one that runs; m forwards and a backward. ``'lean'``: one graph, as any training; a forward more
        where the last channel set is not the best. ``'auto'`` (default): fast while there is memory for it. The result is
        the same, so a run may be resumed with another one.
    width_sampling
        Which widths a training step runs at; default ``UniformWidths()``, one of all. ``UniformWidths(per_step=4)``,
        ``Sandwich()`` (the full network, the smallest and two between), ``NearBudget(share=0.5)`` (half of them where the
        search looks), ``CostBins()`` (all costs alike). Several widths a step train the mean of their losses.
    combine
        How the losses of the channel sets of a step become one: ``'min'`` (default), ``'mean'``, or ``'softmin'``
        (``SoftMin(temperature)``). The last two keep a graph of each channel set.
    distill
        In-place distillation: the other widths of a step learn the outputs of the full network, by the ``'kl'`` or the
        ``'alpha'`` divergence. Needs ``width_sampling=Sandwich()`` and a classifier. Default: None.
    ema
        Decay of a moving average of the supernet's weights, such as 0.999, on which widths are scored. Default: none.
    search
        The searcher; default ``Evolution(population=40, generations=20)``.
    score
        What widths are ranked by: ``'loss'`` (default; finer than accuracy) or the name of a metric that the
        evaluator's ``validation_step`` logs, such as ``'val_acc'``.
    higher_is_better
        Which way the score is better; None: a name with 'loss' or 'error' in it is better when lower.
    temperature
        What the model's logits are divided by while widths are scored. None (default): 2 where a held-out batch shows
        that the score is the cross-entropy of the model's output (of classes, pixels, tokens, soft or several labels),
        else 1, and the log says why. Training is not touched. At 1, a supernet that knows its training images ranks
        widths by over-confidence.
    channel_sets_per_score
        Channel sets that are tried to score a width; default ``channel_sets_per_step``.
    headroom
        Random widths of the budget's cost that are scored before the search, to say how many of them the uniform network is
        better than (see `headroom` of the strategy and `report`). None: a tenth of the search's, 200 at most; where
        that is below 20, the widths of the search are looked at. 0: none.
    holdout
        Share of the training data that is held out for scores.
    score_data
        A loader of training data for scores, instead of a held-out part.
    statistics_batches
        Training batches from which the running statistics of a width are re-estimated; 0: off.
    seed
        Seed of widths, channel sets, the cut of the data, the search, and the training of finalists.
    finalists
        How many of the best widths are trained by the evaluator at the end of the search, besides the uniformly scaled
        network of the same MACs; ``export_top_models`` then ranks what was trained. 0 (default): none, widths are ranked
        by their scores.
    finalist_halving
        Let short trainings choose among the finalists before any is trained in full: the epochs of each rung, such as
        ``(2, 4)``, or a `Halving`. All ``finalists`` are trained for 2 epochs, the better half of them for 4, and the
        better half of those in full, beside the baseline. So the supernet proposes, and short trainings choose: by
        ``score``, on held-out training data, as `ShortTrainings` does. Default: none.
    finalist_weights
        What finalists start from: ``'fresh'`` (default), as the model's own factory makes them, or ``'inherited'`` from
        the supernet.
    finalist_evaluator
        Trains the finalists; default: the experiment's evaluator.
    baseline
        Train the uniformly scaled network beside the finalists (default).
    metric
        What trained finalists are ranked by: a name that their evaluator logs, such as ``'val_acc'``. Default: what it
        reports to NNI.
    metric_higher_is_better
        Which way the metric is better; default: as its name says.
    preset
        ``'paper'``: what is left open is as Su et al. (2021) have it: ``LocallyFree(1)``, uniform widths, evolution of
        50 x 20 widths, scores at temperature 1. Their supernet is trained by the smaller of two losses, as by default; they
        rank by accuracy, so name it: ``score='val_acc'``. Default: None, this package's own settings.
    directory
        Where the run keeps its state. A run that was killed goes on from there, with the same result. Default: the folder
        ``cafenet`` of the experiment where it runs trials; else a new folder below the trainer's ``default_root_dir``,
        which NNI's own checkpoint remembers.
    trial_directory
        The same folder as trials on other machines see it, if they see it under another path.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range. What depends on the space and the evaluator is checked before training starts.
    """

    def __init__(
        self,
        budget: Any,
        *,
        sharing: Sharing | None = None,
        channel_sets_per_step: int = 2,
        memory: str = 'auto',
        width_sampling: WidthSampling | None = None,
        combine: Combination | str = 'min',
        distill: Divergence | str | None = None,
        ema: float | None = None,
        search: Searcher | None = None,
        score: str = 'loss',
        higher_is_better: bool | None = None,
        temperature: float | None = None,
        channel_sets_per_score: int | None = None,
        headroom: int | None = None,
        holdout: float = 0.1,
        score_data: Any = None,
        statistics_batches: int = 20,
        seed: int = 0,
        finalists: int = 0,
        finalist_halving: Halving | Sequence[int] | None = None,
        finalist_weights: str = 'fresh',
        finalist_evaluator: Any = None,
        baseline: bool = True,
        metric: str | None = None,
        metric_higher_is_better: bool | None = None,
        preset: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        trial_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.budget_specs = BudgetSpecs.of(budget)
        left_open = with_preset(
            preset,
            sharing=sharing,
            width_sampling=width_sampling,
            search=search,
            temperature=temperature,
            channel_sets_per_score=channel_sets_per_score,
        )
        search = left_open['search']
        training = TrainingOptions.checked(
            width_sampling=left_open['width_sampling'],
            combine=combine,
            distill=distill,
            ema=ema,
            budget=self.budget_specs,
        )
        self.search = check_instance('search', Evolution() if search is None else search, Searcher)
        self.headroom_widths = SearchOptions.check('headroom', headroom)
        self.options = RunOptions.checked(
            sharing=left_open['sharing'],
            channel_sets_per_step=channel_sets_per_step,
            memory=memory,
            score=score,
            higher_is_better=higher_is_better,
            temperature=left_open['temperature'],
            channel_sets_per_score=left_open['channel_sets_per_score'],
            holdout=holdout,
            score_data=score_data,
            statistics_batches=statistics_batches,
            seed=seed,
            training=training,
        )
        self.finalist_options = FinalistOptions(
            number=finalists,
            weights=finalist_weights,
            metric=metric,
            higher_is_better=metric_higher_is_better,
            baseline=baseline,
            halving=Halving.of('finalist_halving', finalist_halving) if finalist_halving is not None else None,
        )
        self.finalist_evaluator = finalist_evaluator
        self.directory = None if directory is None else check_path('directory', directory)
        self.trial_directory = (
            None if trial_directory is None else os.fspath(check_path('trial_directory', trial_directory))
        )
        self._budget_names = self.budget_specs.names
        self._budgets: list[Budget] = []
        self._setup: StageContext | None = None
        self._asked: StageContext | None = None
        self._history: History | None = None
        self._trained: list[TrainedFinalist] = []
        self._short: list[Finalist] = []
        self._finished = False
        self.begun = False
        self.interruption: RunInterrupted | None = None

    # --- before anything runs ---------------------------------------------------------------------

    def mutate_model(self, model: Any) -> Any:
        """Make a width space ready to be the supernet, in place; returns the same object.

        Its ``state_dict`` stays that of the model. Choose what runs with ``activate(widths, channel_sets)``.
        """
        if not isinstance(model, WidthSpace):
            raise TypeError(
                f'CafeNet searches a WidthSpace, not {type(model).__name__}. Make one of your model: '
                'WidthMutator().mutate(model, example_input=...).'
            )
        self.options.sharing.check(model.groups)
        self.options.training.sampling.check(model)
        return model

    def _initialize(self, model_space: ExecutableModelSpace, engine: Any) -> ExecutableModelSpace:  # type: ignore[override]
        space = self.mutate_model(_live_space(model_space, engine))
        for spec in self.budget_specs:
            Budget.check(spec, space)
        evaluator = model_space.evaluator
        if not isinstance(engine, SequentialExecutionEngine):
            self._check_travels(space, evaluator)
        self._setup = setup = StageContext(
            space, evaluator, self.options, self.finalist_options, self.finalist_evaluator, self._budget_names
        )
        try:
            with terminations():
                setup.finalists = look_before_training(setup)
        except KeyboardInterrupt as error:
            raise self._interrupted(error, 'The run has not begun. Start it again.') from None
        for spec in self.budget_specs:
            check_directory(spec, self.directory, setup.supernet.trainer)
        if self.directory is None:
            self.directory = whole_path(_default_directory(engine, setup))
        self._mutated_model_space = setup.supernet.model_space()
        return self._mutated_model_space

    def _check_travels(self, space: WidthSpace, evaluator: Any) -> None:
        """Refuse what cannot be sent to trials, before the first one starts."""
        others = {'finalist_evaluator': self.finalist_evaluator, 'score_data': self.options.score_data}
        check_travels(space, evaluator, **{name: value for name, value in others.items() if value is not None})

    # --- the run ----------------------------------------------------------------------------------

    def _run(self) -> None:
        self.begun = True
        with terminations():
            try:
                folder = self._opened_folder()
                _logger.info('The run is kept in %s; started again with this directory, it continues.', folder.path)
                with folder.held():
                    self._do(folder, self._stages(folder))
            except RunInterrupted:
                raise
            except KeyboardInterrupt as error:
                raise self._interrupted(error, resume_hint(_known(self.directory))) from None

    def _interrupted(self, error: KeyboardInterrupt, how_to_continue: str) -> RunInterrupted:
        """Return what says that the run was interrupted, by what, and how to continue; NNI's ``run`` raises it."""
        self.interruption = RunInterrupted(f'{str(error) or "Interrupted."} {how_to_continue}')
        return self.interruption

    def _opened_folder(self) -> RunFolder:
        """Return the folder of the run; what it asks for is known from here on, measured latencies too."""
        setup, directory = _known(self._setup), _known(self.directory)
        trainer = setup.supernet.trainer
        supernet = self._supernet_record()
        check_supernet(directory / 'run.json', supernet)
        self._budgets = [
            Budget.parse(spec, setup.space, table_of_run(spec, setup.space, directory, trainer))
            for spec in self.budget_specs
        ]
        record = stages_record(
            supernet=supernet,
            scores=self._scores_record(),
            search=self._search_record(),
            finalists=self._finalists_record(),
        )
        return RunFolder(directory, record, make=trainer.is_global_zero)

    def _do(self, folder: RunFolder, stages: Stages) -> None:
        try:
            self._find(folder, stages)
            self._train_finalists(folder, stages)
        except LimitReachedError as error:
            _logger.warning('%s', error)
        except KeyboardInterrupt as error:
            raise self._interrupted(error, stages.resume_hint) from None
        else:
            self._finished = True
        finally:
            stages.close()

    def _find(self, folder: RunFolder, stages: Stages) -> None:
        """Find widths, and keep them in the history."""
        stages.train_supernet()
        self._search(folder, stages)

    def _stages(self, folder: RunFolder) -> Stages:
        setup: StageContext = _known(self._setup)
        if isinstance(self.engine, SequentialExecutionEngine):
            return InProcess(setup, folder, self.engine)
        from ..trials import AsTrials

        return AsTrials(setup, folder, self.engine, self.trial_directory)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end: it was not interrupted, and no limit of the experiment ended it."""
        return self._finished

    def _supernet_record(self) -> dict[str, Any]:
        """Return what the supernet depends on: with anything else the folder is refused."""
        return self._as_asked().supernet_record()

    def _scores_record(self) -> dict[str, Any]:
        """Return what scores depend on besides the supernet: others have a history of their own."""
        return self._as_asked().scores_record()

    def _search_record(self) -> dict[str, Any]:
        """Return what the search depends on besides scores."""
        limits = [dict(budget.limits) for budget in self._budgets]
        table = next((budget.table for budget in self._budgets if budget.table is not None), None)
        return {
            'budget': limits if self.budget_specs.several else limits[0],
            'search': named(self.search),
            'headroom_widths': self.headroom_widths,
            **({} if table is None else {'latency': table.fingerprint()}),
        }

    def _finalists_record(self) -> dict[str, Any]:
        """Return what the choice and the trainings of finalists depend on besides the search."""
        options = self.finalist_options
        training = self._as_asked().training_record() if options.trainings else {}
        if not options.number:
            return {'finalists': 0}
        return {
            'finalists': options.number,
            'baseline': options.baseline,
            'metric': options.metric,
            'metric_higher_is_better': options.higher_is_better,
            'finalist_halving': None if options.halving is None else repr(options.halving),
            **training,
        }

    def _as_asked(self) -> StageContext:
        """Return the setup with the data that the run works on: of trials, those that it was started with."""
        if self._asked is None:
            setup, folder = _known(self._setup), RunFolder(_known(self.directory))
            self._asked = setup
            if not isinstance(self.engine, SequentialExecutionEngine) and folder.setup.exists():
                now = setup.dump()
                text = with_first_seeds(folder.read_setup(), now)
                if json.loads(text) != json.loads(now):
                    self._asked = setup.with_evaluators_of(text)
        return self._asked

    def _search(self, folder: RunFolder, stages: Stages) -> None:
        """Search widths. Those that were scored before are taken from the history: the search is run again on them."""
        setup, options = _known(self._setup), self.options
        path = folder.history if setup.supernet.trainer.is_global_zero else None
        self._history = history = History(path, higher_is_better=options.higher_is_better)
        space = self._space
        for each in self._equal_cost():
            score = partial(search_widths, score=stages.score, history=history, name=options.score)
            title = 'Search' if each.name is None else f'Search {each.name}'
            drawn = each.drawn()
            score(at_once(drawn), total=len(drawn), title=f'{title}: random widths')
            self._tell_headroom(each.headroom(history, None, options.score) if drawn else None)
            proposals = self.search.propose(space, each.budget, np.random.default_rng([options.seed, 1]))
            score(proposals, total=self.search.total, title=title)
            fuller = each.fuller(self.best_within(each.budget, max(1, self.finalist_options.number)))
            score(at_once(fuller), total=len(fuller), title=f'{title}: what is left of the budget')
            self._tell_headroom(self._headroom_under(each))
        if path is not None:
            history.export(folder.path, space.labels)
            folder.mark_searched()
        space.activate(space.full_widths)
        best = self._best_searched(1)
        if best:
            way = 'higher' if options.higher_is_better else 'lower'
            _logger.info('Best of %d widths: %s %.5g (%s is better)', len(history), options.score, best[0].score, way)

    def _equal_cost(self) -> list[EqualCost]:
        """Return the widths of the cost of each budget."""
        total, seed = self.search.total, self.options.seed
        return [
            EqualCost(self._space, budget, name=name, total=total, drawn=self.headroom_widths, seed=seed)
            for name, budget in zip(self._budget_names, self._budgets)
        ]

    def _headroom_under(self, each: EqualCost) -> Headroom | None:
        best = next(iter(self.best_within(each.budget)), None)
        return each.headroom(self.history, best, self.options.score)

    def _tell_headroom(self, headroom: Headroom | None) -> None:
        if headroom is not None:
            _logger.log(logging.WARNING if headroom.warns else logging.INFO, '%s', ' '.join(headroom.sentences()))

    def _train_finalists(self, folder: RunFolder, stages: Stages) -> None:
        """Train the best widths and the baseline, each by the user's evaluator."""
        finalists = self._choose_finalists(folder, stages) if self.finalist_options.number else []
        once = [each for each in finalists if each.same_as is None]
        for trained in stages.train_finalists(once):
            alike = [each for each in finalists if each.folder == trained.finalist.folder]
            self._trained += [dataclasses.replace(trained, finalist=each) for each in alike]
        self._trained.sort(key=lambda trained: finalists.index(trained.finalist))
        if finalists:
            _logger.info('%s', self.report())

    def _choose_finalists(self, folder: RunFolder, stages: Stages) -> list[Finalist]:
        choice = read_choice(folder)
        if choice is not None:
            self._short = choice.short
            return choice.finalists
        finalists = list[Finalist]()
        for name, budget in zip(self._budget_names, self._budgets):
            best = self.best_within(budget, self.finalist_options.number)
            if not best:
                raise TrainingDivergedError(
                    f'No width has a score that is a number, so there are no finalists: {folder.path / "history.csv"}. '
                    'Training of the supernet has diverged: lower the learning rate or clip gradients, and give another '
                    'directory.'
                )
            chosen = [Finalist(finalist_name(rank, name), scored) for rank, scored in enumerate(best, start=1)]
            baseline = list[Finalist]()
            if self.finalist_options.baseline:
                uniform = uniform_within(budget)
                baseline = [Finalist(finalist_name(BASELINE, name), scored) for scored in stages.score([uniform])]
            if self.finalist_options.halving is not None:
                ranked = self._halved(chosen, self.finalist_options.halving, stages, folder)
                chosen = ranked[: self.finalist_options.halving.kept(len(ranked))]
            finalists += [*chosen, *baseline]
        finalists = self._in_folders(finalists, folder)
        if _known(self._setup).supernet.trainer.is_global_zero:
            write_choice(folder, finalists, self._short)
        return finalists

    def _in_folders(self, finalists: Sequence[Finalist], folder: RunFolder) -> list[Finalist]:
        """Give finalists, or candidates of one rung, the folders of their trainings."""
        setup: StageContext = _known(self._setup)
        epochs = finalists[0].epochs if finalists else None
        record = self._as_asked().training_record(epochs)
        found, trainings = with_folders(
            finalists, record, folder.root_of(epochs), inherited=self.finalist_options.weights == 'inherited'
        )
        if setup.supernet.trainer.is_global_zero:
            write_trainings(folder.root_of(epochs), trainings)
        return found

    def _halved(
        self,
        candidates: Sequence[Finalist],
        halving: Halving,
        stages: Stages,
        folder: RunFolder,
        keep: Callable[[TrainedFinalist], Any] = lambda trained: None,
    ) -> list[Finalist]:
        """Return the networks of the last rung of short trainings, best first; call ``keep`` with all that were trained."""
        metric = _known(self._setup).short_metric

        def train(rung: Sequence[Finalist], epochs: int) -> Iterator[tuple[Finalist, float]]:
            candidates = self._in_folders([dataclasses.replace(each, epochs=epochs) for each in rung], folder)
            self._short += candidates
            for trained in stages.train_finalists(candidates):
                keep(trained)
                fitness = math.nan if math.isnan(trained.metric) else metric.fitness(trained.metric)
                yield Finalist(trained.finalist.name, trained.finalist.scored), fitness

        _logger.info('Short trainings: %s', halving.describe(len(candidates)))
        ranked = halve(candidates, halving, train)
        if not ranked:
            raise TrainingDivergedError(
                f'No short training has a {metric.name} that is a number. Lower the learning rate or clip gradients, and '
                'give another directory.'
            )
        return ranked

    # --- results ----------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """Every width that was scored."""
        return _known(self._history)

    @property
    def budgets(self) -> list[Budget]:
        """The budgets, one or several; none before the run."""
        return list(self._budgets)

    @property
    def budget_names(self) -> list[str | None]:
        """What the budgets are called where there are several, such as ``['75%', '50%']``; ``[None]`` for one alone."""
        return list(self._budget_names)

    @property
    def metric(self) -> Metric:
        """What trained finalists are ranked by."""
        setup: StageContext = _known(self._setup)
        return setup.metric

    def best_within(self, budget: Budget, number: int | None = 1) -> list[Scored]:
        """Return the best widths of the space that were scored and that a budget allows, best first.

        Those that use the budget to within 2 % come before all others.
        """
        allowed = self.history.best(among=lambda each: self._is_allowed(each, budget))
        return sorted(allowed, key=lambda each: not is_full(budget, each.widths))[:number]

    def _is_allowed(self, scored: Scored, budget: Budget) -> bool:
        """Whether widths are of the space and a budget allows them; the history may have those of other budgets."""
        space, choices = self._space, self._space.choices
        known = scored.epochs or all(width in choices[label] for label, width in scored.widths.items())
        return bool(known) and bool(budget.allows(space.to_array(scored.widths))[0])

    @property
    def headroom(self) -> list[Headroom]:
        """What there is to win over the uniform network, under each budget, by the supernet's scores.

        Without those of which too few widths were scored.
        """
        if any(record.epochs for record in self.history):
            return []
        return [found for found in map(self._headroom_under, self._equal_cost()) if found is not None]

    def best_trained(self, budget: str | None = None) -> TrainedFinalist | None:
        """Return the best trained network, under the budget of a name where there are several; None where none was trained.

        It is the uniform network where no finalist is better than it.
        """
        own = [each for each in self._trained if budget is None or each.finalist.budget == budget]
        return min(self._sound(own), key=self._trained_rank, default=None)

    def _sound(self, trained: Sequence[TrainedFinalist]) -> list[TrainedFinalist]:
        """Return the networks whose outputs and metric are finite: no others are handed out.

        Raises
        ------
        nni_cafenet.errors.TrainingDivergedError
            If all have diverged.
        """
        sound = [each for each in trained if math.isfinite(each.metric)]
        if trained and not sound:
            raise TrainingDivergedError(
                f'All trained networks have diverged: outputs or {self.metric.name or "metric"} are not finite, so none is '
                'handed out. Lower the learning rate or clip gradients (finalist_evaluator=), and run again.'
            )
        lost = [each.finalist.title for each in trained if each not in sound]
        if lost:
            _logger.warning('Not handed out, since the training has diverged: %s.', '; '.join(lost))
        return sound

    def compared(self) -> list[TrainedFinalist]:
        """Return what the results are compared with: the uniform networks, and where one is kept the best finalist."""
        shown = list[TrainedFinalist]()
        for name in self._budget_names:
            own = sorted((each for each in self._trained if each.finalist.budget == name), key=self._trained_rank)
            shown += [each for each in own if each.finalist.is_baseline]
            if self.keeps_uniform(name):
                shown += [each for each in own if not each.finalist.is_baseline][:1]
        return shown

    def _trained_rank(self, trained: TrainedFinalist) -> tuple[float, bool]:
        """Order trained networks by their metric; of equals, the uniform one comes first."""
        return -self.metric.fitness(trained.metric), not trained.finalist.is_baseline

    def trained_model(self, trained: TrainedFinalist) -> nn.Module:
        """Return the slim model of a finalist, or of the baseline, with its trained weights."""
        return TrainedModel(self._space, trained, self._folder_of(trained)).executable_model()

    def _folder_of(self, trained: TrainedFinalist) -> Path:
        return RunFolder(_known(self.directory)).training(trained.finalist.folder, trained.finalist.epochs)

    def report(self) -> str:
        """Return a table of the trained finalists and the baseline, or of the best five widths where there are none.

        Below it: where the uniform network is the best, and what there was to win by the supernet's scores.
        """
        setup: StageContext = _known(self._setup)
        if self._trained:
            table = finalists_table(sorted(self._trained, key=self._trained_rank), self._space, setup.metric)
        else:
            table = widths_table(self._best_searched(5), self._space, self.options.score)
        return '\n'.join([table, *self.findings()])

    def findings(self) -> list[str]:
        """Return sentences on what came out: budgets that keep the uniform network, and what there was to win."""
        budgets = [name for name in self._budget_names if self.keeps_uniform(name)]
        reason = 'no finalist is better than the uniformly scaled network'
        kept = [f'Uniform kept{"" if name is None else f" under {name}"}: {reason}.' for name in budgets]
        warning = overtraining(RunFolder(_known(self.directory)).uniform_loss)
        said = [sentence for each in self.headroom for sentence in each.sentences()]
        return [*kept, *said, *([] if warning is None else [warning])]

    def keeps_uniform(self, budget: str | None = None) -> bool:
        """Whether no trained finalist is better than the uniform network, under the budget of a name."""
        own = [each for each in self._trained if budget is None or each.finalist.budget == budget]
        own = [each for each in own if math.isfinite(each.metric)]
        return bool(own) and min(own, key=self._trained_rank).finalist.is_baseline

    def _best_searched(self, number: int | None) -> list[Scored]:
        """Return the best widths that were scored, best first: under the budget, where it is one."""
        if len(self._budgets) == 1:
            return self.best_within(self._budgets[0], number)
        return self.history.best(number, among=lambda each: any(self._is_allowed(each, one) for one in self._budgets))

    @property
    def trained(self) -> list[TrainedFinalist]:
        """The finalists and the baseline, as far as they were trained."""
        return list(self._trained)

    @property
    def short_trainings(self) -> list[TrainedFinalist]:
        """The short trainings that chose the finalists, rung by rung, as far as they were done."""
        folder = RunFolder(_known(self.directory))
        rungs = sorted(self._short, key=lambda each: each.epochs or 0)
        found = [read_result(each, folder.training(each.folder, each.epochs)) for each in rungs]
        return [each for each in found if each is not None]

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """Yield the best trained finalists, best first; without finalists, the best searched widths.

        Parameters
        ----------
        sort
            False: in the order in which they were scored or chosen.
        limit
            How many; None: all.
        """
        if self._trained:
            sound = self._sound(self._trained)
            ranked = sorted(sound, key=self._trained_rank) if sort else sound
            once = list({each.finalist.folder: each for each in reversed(ranked)}.values())[::-1]
            for each in once[:limit]:
                yield TrainedModel(self._space, each, self._folder_of(each))
            return
        records = self._best_searched(limit) if sort else list(self.history)[:limit]
        for scored in records:
            yield SearchedModel(self._space, scored, self.slim)

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of scored widths, with the supernet's weights and re-estimated running statistics."""
        slim = self._scorer.slim(scored)
        if not computes_numbers(slim, self._space.example_input):
            raise TrainingDivergedError(
                f'The slim model of {shortened(str(scored.widths))} does not compute numbers, so it is not handed out. '
                'Training of the supernet has diverged: lower the learning rate, and give another directory.'
            )
        return slim

    @property
    def _scorer(self) -> Scorer:
        """What scored the widths; where trials did, the supernet is fetched from its checkpoint first."""
        setup: StageContext = _known(self._setup)
        if not isinstance(self.engine, SequentialExecutionEngine) and 'scorer' not in vars(setup):
            setup.supernet.restore(RunFolder(_known(self.directory)))
        return setup.scorer

    def state_dict(self) -> dict[str, Any]:
        """Return the run's folder: the state itself is kept there."""
        return {} if self.directory is None else {'directory': str(self.directory)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up the run of another process."""
        if 'directory' in state_dict:
            self.directory = Path(state_dict['directory'])

    def extra_repr(self) -> str:
        """Return the options that matter most."""
        return (
            f'budget={self.budget_specs!r}, sharing={self.options.sharing!r}, '
            f'channel_sets_per_step={self.options.channel_sets_per_step}, '
            f'search={self.search!r}'
        )

    @property
    def _space(self) -> WidthSpace:
        setup: StageContext = _known(self._setup)
        return setup.space


def _live_space(model_space: Any, engine: Any) -> Any:
    """Return the space that the user gave the experiment."""
    if isinstance(engine, SequentialExecutionEngine) and isinstance(model_space, RawFormatModelSpace):
        return model_space.model_space
    formats = (RawFormatModelSpace, SimplifiedModelSpace)
    if isinstance(engine, TrainingServiceExecutionEngine) and isinstance(model_space, formats):
        return engine.nodejs_binding.model_space
    raise TypeError(
        "CafeNet runs in NNI's sequential engine, on the raw model format (leave the experiment's config out, or use "
        "NasExperimentConfig('sequential', 'raw', 'local')), or as trials of a training service: "
        "NasExperimentConfig('ts', 'simplified', 'local')."
    )


def _default_directory(engine: Any, setup: StageContext) -> Path:
    if isinstance(engine, SequentialExecutionEngine):
        return new_run_path(setup.supernet.trainer.default_root_dir)
    experiment = engine.nodejs_binding
    return Path(experiment.config.canonical_copy().experiment_working_directory) / experiment.id / 'cafenet'


def _known(value: Any) -> Any:
    """Return a value that a run has by now."""
    if value is None:
        raise RuntimeError('The strategy has not been run yet: call NasExperiment(...).run() first.')
    return value
