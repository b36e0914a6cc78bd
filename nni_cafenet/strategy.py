"""CafeNet as an NNI strategy: train the supernet, search widths on it, hand out slim models."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from nni.nas.space import ExecutableModelSpace, RawFormatModelSpace

from .run.folder import RunFolder, new_run_path
from .run.options import RunOptions, instance
from .run.supernet import SupernetRun
from .search.budget import Budget
from .search.driver import search_widths
from .search.evolution import Evolution
from .search.history import History
from .search.scoring import Scorer
from .search.searched_model import SearchedModel
from .search.searcher import Searcher
from .space.width_space import WidthSpace
from .supernet.sharing import Sharing

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
        ``{'macs': '50%', 'params': '5M'}``. Never exceeded.
    sharing
        Which channel sets stand for a width; default ``LocallyFree(offset=1)``.
    patterns
        Channel sets that are compared in a training step, 1 or more.
    search
        The searcher; default ``Evolution(population=40, generations=20)``.
    score
        What widths are ranked by: ``'loss'`` (default; finer than accuracy) or the name of a metric that the
        evaluator's ``validation_step`` logs, such as ``'val_acc'``.
    higher_is_better
        Which way the score is better; None: a name with 'loss' or 'error' in it is better when lower.
    score_patterns
        Channel sets that are tried to score a width; default ``patterns``.
    holdout
        Share of the training data that is held out for scores.
    score_data
        A loader of training data for scores, instead of a held-out part.
    statistics_batches
        Training batches from which the running statistics of a width are re-estimated; 0: off.
    seed
        Seed of widths, channel sets, the cut of the data and the search.
    directory
        Where the run keeps its state. A run that was killed goes on from there, with the same result. Default: a new
        folder below the trainer's ``default_root_dir``, which NNI's own checkpoint remembers.

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
        patterns: int = 2,
        search: Searcher | None = None,
        score: str = 'loss',
        higher_is_better: bool | None = None,
        score_patterns: int | None = None,
        holdout: float = 0.1,
        score_data: Any = None,
        statistics_batches: int = 20,
        seed: int = 0,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.budget_spec = budget
        self.search = instance('search', Evolution() if search is None else search, Searcher)
        self.options = RunOptions.checked(
            sharing=sharing,
            patterns=patterns,
            score=score,
            higher_is_better=higher_is_better,
            score_patterns=score_patterns,
            holdout=holdout,
            score_data=score_data,
            statistics_batches=statistics_batches,
            seed=seed,
        )
        self.directory = None if directory is None else Path(directory)
        self._budget: Budget | None = None
        self._supernet: SupernetRun | None = None
        self._history: History | None = None
        self._scorer: Scorer | None = None
        self._finished = False

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
        return model

    def _initialize(self, model_space: ExecutableModelSpace, engine: Any) -> RawFormatModelSpace:  # type: ignore[override]
        if not isinstance(model_space, RawFormatModelSpace) or not isinstance(engine, SequentialExecutionEngine):
            raise TypeError(
                "CafeNet runs in NNI's sequential engine, on the raw model format. Leave the experiment's config out, or "
                "use NasExperimentConfig('sequential', 'raw', 'local')."
            )
        space = self.mutate_model(model_space.model_space)
        self._budget = Budget.parse(self.budget_spec, space)
        self._supernet = SupernetRun(space, model_space.evaluator, self.options)
        if self.directory is None:
            self.directory = new_run_path(self._supernet.trainer.default_root_dir)
        self._mutated_model_space = self._supernet.model_space()
        return self._mutated_model_space

    # --- the run ----------------------------------------------------------------------------------

    def _run(self) -> None:
        supernet: SupernetRun = _known(self._supernet)
        folder = RunFolder(_known(self.directory), self._settings(), make=supernet.trainer.is_global_zero)
        _logger.info('The run is kept in %s; started again with this directory, it goes on from there.', folder.path)
        try:
            supernet.train(folder, lambda: self.engine.submit_models(_known(self._mutated_model_space)))
            self._search(folder)
        except KeyboardInterrupt:
            _logger.warning('Interrupted. To go on, run again with CafeNet(..., directory=%r).', str(folder.path))
            raise
        self._finished = True

    @property
    def finished(self) -> bool:
        """Whether the search has come to its end (NNI's ``run`` returns silently when it is interrupted)."""
        return self._finished

    def _settings(self) -> dict[str, Any]:
        space, budget, options = self._space, _known(self._budget), self.options
        return {
            'format': 1,
            'seed': options.seed,
            'budget': dict(budget.limits),
            'sharing': repr(options.sharing),
            'patterns': options.patterns,
            'search': repr(self.search),
            'score': [options.score, options.higher_is_better, options.score_patterns],
            'data': [len(_known(self._supernet).data), options.holdout, options.statistics_batches],
            'macs': space.macs(space.full_widths),
            'choices': {label: list(widths) for label, widths in space.choices.items()},
        }

    def _search(self, folder: RunFolder) -> None:
        """Search widths. Those that were scored before are taken from the history: the search is run again on them."""
        supernet, options = _known(self._supernet), self.options
        path = folder.history if supernet.trainer.is_global_zero else None
        self._history = history = History(path, higher_is_better=options.higher_is_better)
        self._scorer = scorer = supernet.scorer()
        space, budget = self._space, _known(self._budget)
        proposals = self.search.propose(space, budget, np.random.default_rng([options.seed, 1]))
        search_widths(proposals, scorer.score, history, total=self.search.total, name=options.score)
        if path is not None:
            history.export(folder.path, space.labels)
        space.activate(space.full_widths)
        best = history.best(1)
        if best:
            way = 'higher' if options.higher_is_better else 'lower'
            _logger.info('Best of %d widths: %s %.5g (%s is better)', len(history), options.score, best[0].score, way)

    # --- results ----------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """Every width that was scored."""
        return _known(self._history)

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """Yield the best searched models, best first.

        Parameters
        ----------
        sort
            False: in the order in which they were scored.
        limit
            How many; None: all.
        """
        records = self.history.best(limit) if sort else list(self.history)[:limit]
        for scored in records:
            yield SearchedModel(_known(self._scorer), scored)

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
            f'budget={self.budget_spec!r}, sharing={self.options.sharing!r}, patterns={self.options.patterns}, '
            f'search={self.search!r}'
        )

    @property
    def _space(self) -> WidthSpace:
        supernet: SupernetRun = _known(self._supernet)
        return supernet.space


def _known(value: Any) -> Any:
    """Return a value that a run has by now."""
    if value is None:
        raise RuntimeError('The strategy has not been run yet: call NasExperiment(...).run() first.')
    return value
