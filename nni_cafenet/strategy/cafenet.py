"""CafeNet as an NNI strategy: train the supernet, search widths on it, train the best ones."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..errors import TrainingDivergedError, truncated
from ..options import BudgetSpecs, FinalistOptions, Halving, SearchOptions
from ..ranks import from_first
from ..search import Evolution, Headroom, Scored, Scorer, Searcher, search_widths, uniform_within
from ..stages import (
    BASELINE,
    MOST_FINALISTS,
    Finalist,
    RunFolder,
    RunOptions,
    StageContext,
    Stages,
    TimeLeft,
    check_source,
    computes_numbers,
    copy_run,
    finalist_name,
    named,
    one_batch,
    read_stages,
    with_preset,
)
from ..supernet import Combination, Divergence, Sharing, TrainingOptions, WidthSampling
from ..utils import check_instance, check_path
from .engine import is_sequential
from .finalist_trainings import FinalistTrainings
from .left_open import LeftOpen
from .result import RunResult
from .staged_strategy import StagedStrategy
from .time_estimate import work_left
from .with_result import known

__all__ = ['CafeNet']

_logger = logging.getLogger(__name__)


class CafeNet(StagedStrategy):
    """Network width search by locally free weight sharing (Su et al., ICLR 2021).

    ``NasExperiment(space, evaluator, CafeNet(budget='50%')).run()`` trains the supernet of a `WidthSpace` by the
    evaluator's own recipe (min-min over channel sets), then searches widths within the budget on a held-out part of the
    *training* data. The evaluator's validation data is not touched. ``export_top_models`` returns the best widths
    (``formatter='dict'``) or slim models with the supernet's weights and re-estimated running statistics
    (``formatter='instance'``), best first. All results are methods of the strategy, and of `RunResult`.

    Parameters
    ----------
    budget
        Largest cost of the slim model: ``'50%'`` of the full network's MACs, ``'300M'`` or ``3e8`` MACs, or a dict such as
        ``{'macs': '50%', 'params': '5M'}``. Never exceeded. ``{'latency': '5ms', 'device': 'cpu', 'batch': 1}`` (or
        ``'50%'`` of the full network's) limits the time that a `LatencyTable` predicts; the table is measured when the run
        starts, and kept in its directory. The real time of a network may be longer. A list of budgets gives a family of
        networks from one supernet, with a search and finalists for each budget.
    sharing
        Which channel sets represent a width; default ``LocallyFree(offset=1)``.
    channel_sets_per_step
        Channel sets compared in a training step, 1 or more.
    memory
        What a training step holds while it compares m channel sets. ``'fast'``: two graphs, that of the best channel set so
        far and that of the current one; m forwards and one backward. ``'lean'``: one graph, as in any training, at the cost
        of another forward if the last channel set is not the best. ``'auto'`` (default): fast while memory allows. The
        result is the same, so a run may be resumed with another value.
    width_sampling
        Which widths a training step runs at; default ``UniformWidths()``, one of all. ``UniformWidths(per_step=4)``,
        ``Sandwich()`` (the full network, the smallest, and two between), ``NearBudget(share=0.5)`` (half of them near the
        budget), ``CostBins()`` (all costs equally often). Several widths per step train the mean of their losses.
    combine
        How the losses of a step's channel sets become one: ``'min'`` (default), ``'mean'``, or ``'softmin'``
        (``SoftMin(temperature)``). The last two hold a graph per channel set.
    distill
        In-place distillation: the other widths of a step learn the outputs of the full network, by the ``'kl'`` or the
        ``'alpha'`` divergence. Needs ``width_sampling=Sandwich()`` and a classifier. Default: None.
    ema
        Decay of a moving average of the supernet's weights, such as 0.999, on which widths are scored. Default: None.
    search
        The searcher; default ``Evolution()``: 40 widths in each of 20 generations. Fewer if the search would cost more
        than the training of the supernet, counted in forwards of a batch, down to 80 in all; a log line says so. Numbers
        that you give are kept.
    score
        What widths are ranked by: ``'loss'`` (default; finer than accuracy) or a metric that the evaluator's
        ``validation_step`` logs, such as ``'val_acc'``.
    higher_is_better
        Direction of the score. None: lower is better if its name contains 'loss' or 'error'.
    temperature
        Divisor of the model's logits while widths are scored. None (default): for each width the one with the smallest
        loss, if a held-out batch shows that the score is the cross-entropy of the model's output (of classes, pixels,
        tokens, soft or several labels), else 1; the log gives the reason. So the scale of the logits does not count: weight
        sharing sets it, not the worth of the widths (our reading; the paper ranks by accuracy). Training is not affected.
        At 1, a supernet that has memorized its training images ranks widths by over-confidence.
    channel_sets_per_score
        Channel sets tried to score a width; default ``channel_sets_per_step``.
    headroom
        Number of random widths of the budget's cost scored before the search, to estimate the gain over the uniform network
        (see `headroom` of the strategy and `report`). None: a tenth of the search, at most 200; below 20, the widths of the
        search are used instead. 0: none.
    holdout
        Share of the training data held out for scores.
    score_data
        A loader of training data for scores, instead of a held-out part.
    statistics_batches
        Training batches from which running statistics are re-estimated for each width; 0: off. None (default): 20, but
        no more than an epoch has, and fewer together with the widths of the search, down to 4.
    seed
        Seed of widths, channel sets, the split of the data, the search, and the training of finalists.
    finalists
        Number of the best widths that the evaluator trains after the search, besides the uniformly scaled network of the
        same MACs; ``export_top_models`` then ranks the trained networks. 0 (default): none, widths are ranked by score.
        None: 4; fewer, but 2 or more, if those after the first would cost more than the training of the supernet.
    finalist_halving
        Short trainings that choose among the finalists: the epochs of each rung, such as ``(2, 4)``, or a `Halving`. All
        ``finalists`` are trained for 2 epochs, the better half for 4, and the better half of those in full, beside the
        baseline. They are ranked by ``score`` on held-out training data, as in `ShortTrainings`. Default: None.
    finalist_weights
        Initial weights of finalists: ``'fresh'`` (default), from the model's own factory, or ``'inherited'`` from the
        supernet.
    finalist_evaluator
        Trains the finalists; default: the experiment's evaluator.
    baseline
        Train the uniformly scaled network beside the finalists (default).
    metric
        What trained finalists are ranked by: a name that their evaluator logs, such as ``'val_acc'``. Default: what it
        reports to NNI.
    metric_higher_is_better
        Direction of the metric; None: by its name, as for ``higher_is_better``.
    preset
        ``'paper'``: options left open follow Su et al. (2021): ``LocallyFree(1)``, uniform widths, evolution of 50 x 20
        widths, scores at temperature 1. Their supernet is trained by the smaller of two losses, as by default; they rank by
        accuracy, so add ``score='val_acc'``. Default: None, this package's own settings.
    directory
        Folder of the run's state. A killed run resumes from it, with the same result. Default: the folder ``cafenet`` of
        the experiment if it runs trials; else a new folder below the trainer's ``default_root_dir``, which NNI's own
        checkpoint remembers.
    trial_directory
        The same folder as trials on other machines see it, if under another path.
    supernet_from
        The directory of a finished run whose supernet, scores and trained networks this run takes, to ask it something
        else: another budget, more candidates, more finalists. That run is not changed. Its model, data and training must
        be the same.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range. Options that depend on the space and the evaluator are checked before training.
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
        statistics_batches: int | None = None,
        seed: int = 0,
        finalists: int | None = 0,
        finalist_halving: Halving | Sequence[int] | None = None,
        finalist_weights: str = 'fresh',
        finalist_evaluator: Any = None,
        baseline: bool = True,
        metric: str | None = None,
        metric_higher_is_better: bool | None = None,
        preset: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        trial_directory: str | os.PathLike[str] | None = None,
        supernet_from: str | os.PathLike[str] | None = None,
    ) -> None:
        budgets = BudgetSpecs.of(budget)
        left_open = with_preset(
            preset,
            sharing=sharing,
            width_sampling=width_sampling,
            search=search,
            temperature=temperature,
            channel_sets_per_score=channel_sets_per_score,
        )
        training = TrainingOptions.checked(
            width_sampling=left_open['width_sampling'], combine=combine, distill=distill, ema=ema, budget=budgets
        )
        searcher = Evolution() if left_open['search'] is None else left_open['search']
        self.search = check_instance('search', searcher, Searcher)
        self.supernet_from = None if supernet_from is None else check_path('supernet_from', supernet_from)
        self.headroom_widths = SearchOptions.check('headroom', headroom)
        self._left_open = LeftOpen(statistics_batches is None, finalists is None)
        super().__init__(
            budgets,
            options=RunOptions.checked(
                sharing=left_open['sharing'],
                channel_sets_per_step=channel_sets_per_step,
                memory=memory,
                ema=ema,
                score=score,
                higher_is_better=higher_is_better,
                temperature=left_open['temperature'],
                channel_sets_per_score=left_open['channel_sets_per_score'],
                holdout=holdout,
                score_data=score_data,
                statistics_batches=statistics_batches,
                seed=seed,
                training=training,
            ),
            finalists=FinalistOptions(
                number=MOST_FINALISTS if finalists is None else finalists,
                weights=finalist_weights,
                metric=metric,
                higher_is_better=metric_higher_is_better,
                baseline=baseline,
                halving=None if finalist_halving is None else Halving.of('finalist_halving', finalist_halving),
            ),
            finalist_evaluator=finalist_evaluator,
            directory=directory,
            trial_directory=trial_directory,
        )

    def mutate_model(self, model: Any) -> Any:
        """Check that a model is a width space that can be trained as asked, and return it.

        Its ``state_dict`` stays that of the user's model. Choose what runs with ``activate(widths, channel_sets)``.
        """
        space = super().mutate_model(model)
        self.options.sharing.check(space.groups)
        self.options.training.sampling.check(space)
        return space

    def _check_folders(self) -> None:
        super()._check_folders()
        if self.supernet_from is not None:
            check_source(self.supernet_from)

    def _take_over(self, directory: Path, supernet: Mapping[str, Any]) -> None:
        if self.supernet_from is not None:
            copy_run(self.supernet_from, directory, supernet)

    def _settle_sizes(self, directory: Path) -> dict[str, int]:
        context, source = known(self._context), directory if self.supernet_from is None else self.supernet_from
        found = from_first(lambda: read_stages(directory / 'run.json') or read_stages(source / 'run.json')) or {}
        sizes = self._left_open.settled(context, self.search, found.get('sizes', {}))
        self.search = sizes.search
        self.options = dataclasses.replace(self.options, statistics_batches=sizes.statistics_batches)
        context.options = context.supernet.options = self.options
        self.finalist_options = dataclasses.replace(self.finalist_options, number=sizes.finalists)
        context.finalists = dataclasses.replace(context.finalists, number=sizes.finalists)
        return sizes.record

    def _search_record(self) -> dict[str, Any]:
        return {'search': named(self.search), 'headroom_widths': self.headroom_widths}

    def _make_result(self, **common: Any) -> RunResult:
        return RunResult(**common, proposals=self.search.total, drawn=self.headroom_widths, make_slim=self._slim)

    def _time_left(self, folder: RunFolder) -> TimeLeft | None:
        context = known(self._context)
        work = work_left(context, folder, self.search, self._budgets, self.headroom_widths)
        return None if work is None else TimeLeft(work, folder.speed, show=self._is_first)

    # --- the stages -------------------------------------------------------------------------------

    def _prepare(self, stages: Stages) -> None:
        stages.train_supernet()

    def _find(self, folder: RunFolder, stages: Stages, trainings: FinalistTrainings) -> None:
        """Search widths. The search is repeated from its start; known scores come from the history."""
        options, result, space = self.options, self.result, self._space
        for each in result.equal_cost():
            score = partial(search_widths, score=stages.score, history=result.history, name=options.score)
            title = 'Search' if each.name is None else f'Search {each.name}'
            drawn = each.drawn()
            random = f'{title}: random widths'
            score(one_batch(drawn), total=len(drawn), title=random, hint=stages.expected(len(drawn)))
            _tell_headroom(each.headroom(result.history, None, options.score) if drawn else None)
            proposals = self.search.propose(space, each.budget, np.random.default_rng([options.seed, 1]))
            total = self.search.total
            score(proposals, total=total, title=title, hint=stages.expected(total))
            fuller = each.fuller(result.best_within(each.budget, max(1, self.finalist_options.number)))
            rest = f'{title}: what is left of the budget'
            score(one_batch(fuller), total=len(fuller), title=rest, hint=stages.expected(len(fuller)))
            _tell_headroom(result.headroom_of(each))
        if self._is_first:
            result.history.export(folder.path, space.labels)
            folder.mark_searched()
        space.activate(space.full_widths)
        best = result.best_searched(1)
        if best:
            way, number = 'higher' if options.higher_is_better else 'lower', len(result.history)
            _logger.info('Best of %d widths: %s %.5g (%s is better)', number, options.score, best[0].score, way)

    def _choose_finalists(self, stages: Stages, trainings: FinalistTrainings) -> list[Finalist]:
        options, finalists = self.finalist_options, list[Finalist]()
        for name, budget in zip(self.budget_names, self.budgets):
            best = self.best_within(budget, options.number)
            if not best:
                raise TrainingDivergedError(
                    f'No width has a score that is a number, so there are no finalists: '
                    f'{self.result.directory / "history.csv"}. Training of the supernet has diverged: lower the learning '
                    'rate or clip gradients, and give another directory.'
                )
            chosen = [Finalist(finalist_name(rank, name), scored) for rank, scored in enumerate(best, start=1)]
            baseline = list[Finalist]()
            if options.baseline:
                uniform = uniform_within(budget)
                baseline = [Finalist(finalist_name(BASELINE, name), scored) for scored in stages.score([uniform])]
            if options.halving is not None:
                ranked = trainings.halved(chosen, options.halving)
                chosen = ranked[: options.halving.kept(len(ranked))]
            finalists += [*chosen, *baseline]
        return finalists

    # --- slim models ------------------------------------------------------------------------------

    def _slim(self, scored: Scored) -> nn.Module:
        slim = self._scorer.slim(scored)
        if not computes_numbers(slim, self._space.example_input):
            raise TrainingDivergedError(
                f'The slim model of {truncated(str(scored.widths))} does not compute numbers, so it is not handed out. '
                'Training of the supernet has diverged: lower the learning rate, and give another directory.'
            )
        return slim

    @property
    def _scorer(self) -> Scorer:
        """The scorer of the run. If trials scored the widths, the supernet is restored from its checkpoint first."""
        context: StageContext = known(self._context)
        if not is_sequential(self.engine) and 'scorer' not in vars(context):
            context.supernet.restore(RunFolder(known(self.directory)))
        return context.scorer

    def extra_repr(self) -> str:
        """Return the options that matter most."""
        return (
            f'budget={self.budget_specs!r}, sharing={self.options.sharing!r}, '
            f'channel_sets_per_step={self.options.channel_sets_per_step}, '
            f'search={self.search!r}'
        )


def _tell_headroom(headroom: Headroom | None) -> None:
    if headroom is not None:
        _logger.log(logging.WARNING if headroom.warns else logging.INFO, '%s', ' '.join(headroom.sentences()))
