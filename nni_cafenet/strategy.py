"""CafeNet as an NNI strategy: train the supernet, search widths on it, hand out slim models."""

from __future__ import annotations

import copy
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning, LightningModule
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from nni.nas.space import ExecutableModelSpace, ModelStatus, RawFormatModelSpace
from pytorch_lightning.trainer.states import TrainerStatus

from .run_folder import RunFolder, new_run_path
from .search.budget import Budget
from .search.driver import search_widths
from .search.evolution import Evolution
from .search.history import History
from .search.scoring import Scorer, better_when_higher
from .search.searched_model import SearchedModel
from .search.searcher import Searcher
from .space.width_space import WidthSpace
from .supernet.checkpoint import SaveEveryEpoch, batches_begun, has_ended, restore
from .supernet.data import TrainingData
from .supernet.evaluator import check_evaluator, to_device, training_loader
from .supernet.lightning import MinMinModule
from .supernet.randomness import seeded
from .supernet.sharing import LocallyFree, Sharing

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
        self.sharing = _instance('sharing', LocallyFree() if sharing is None else sharing, Sharing)
        self.search = _instance('search', Evolution() if search is None else search, Searcher)
        self.patterns = _at_least('patterns', patterns, 1)
        self.score_patterns = _at_least('score_patterns', patterns if score_patterns is None else score_patterns, 1)
        self.statistics_batches = _at_least('statistics_batches', statistics_batches, 0)
        self.seed = _at_least('seed', seed, 0)
        if not isinstance(holdout, (int, float)) or not 0 < holdout < 1:
            raise ValueError(
                f'holdout={holdout!r} must lie between 0 and 1: the share of training data kept for scores.'
            )
        self.holdout = float(holdout)
        self.score = score
        self.higher_is_better = better_when_higher(score) if higher_is_better is None else higher_is_better
        self.score_data = score_data
        self.directory = None if directory is None else Path(directory)
        self._budget: Budget | None = None
        self._data: TrainingData | None = None
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
        self.sharing.check(model.groups)
        return model

    def mutate_evaluator(self, evaluator: Any) -> Lightning:
        """Wrap the evaluator's Lightning module, and cut its training data. Nothing of the evaluator is changed."""
        check_evaluator(evaluator)
        loader = training_loader(evaluator)
        trainer = evaluator.trainer
        self._data = TrainingData(
            loader,
            holdout=self.holdout,
            seed=self.seed,
            score_loader=self.score_data,
            epoch=partial(batches_begun, trainer),
        )
        module = self.configure_oneshot_module(evaluator.module)
        datamodule = copy.copy(evaluator.datamodule)
        if datamodule is None:
            loaders = {'train_dataloaders': self._data.train, 'val_dataloaders': self._data.heldout}
        else:
            datamodule.train_dataloader = self._data.train_dataloader
            datamodule.val_dataloader = self._data.val_dataloader
            loaders = {'datamodule': datamodule}
        return Lightning(
            module,
            trainer,
            fit_kwargs=evaluator.fit_kwargs,
            detect_interrupt=evaluator.detect_interrupt,
            **loaders,
        )

    def configure_oneshot_module(self, training_module: LightningModule) -> MinMinModule:
        """Make the min-min module around the evaluator's own."""
        return MinMinModule(
            training_module,
            sharing=self.sharing,
            patterns=self.patterns,
            seed=self.seed,
            loader_generator=None if self._data is None else self._data.generator,
        )

    def _initialize(self, model_space: ExecutableModelSpace, engine: Any) -> RawFormatModelSpace:  # type: ignore[override]
        if not isinstance(model_space, RawFormatModelSpace) or not isinstance(engine, SequentialExecutionEngine):
            raise TypeError(
                "CafeNet runs in NNI's sequential engine, on the raw model format. Leave the experiment's config out, or "
                "use NasExperimentConfig('sequential', 'raw', 'local')."
            )
        space = self.mutate_model(model_space.model_space)
        self._budget = Budget.parse(self.budget_spec, space)
        evaluator = self.mutate_evaluator(model_space.evaluator)
        evaluator.module.set_model(space)
        if self.directory is None:
            self.directory = new_run_path(evaluator.trainer.default_root_dir)
        self._mutated_model_space = RawFormatModelSpace(space, evaluator)
        self._mutated_model_space.status = ModelStatus.Frozen
        return self._mutated_model_space

    # --- the run ----------------------------------------------------------------------------------

    def _run(self) -> None:
        folder = RunFolder(_known(self.directory), self._settings(), make=self._trainer.is_global_zero)
        _logger.info('The run is kept in %s; started again with this directory, it goes on from there.', folder.path)
        try:
            self._train(folder)
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
        space, budget = self._space, _known(self._budget)
        return {
            'format': 1,
            'seed': self.seed,
            'budget': dict(budget.limits),
            'sharing': repr(self.sharing),
            'patterns': self.patterns,
            'search': repr(self.search),
            'score': [self.score, self.higher_is_better, self.score_patterns],
            'data': [len(_known(self._data)), self.holdout, self.statistics_batches],
            'macs': space.macs(space.full_widths),
            'choices': {label: list(widths) for label, widths in space.choices.items()},
        }

    def _train(self, folder: RunFolder) -> None:
        """Train the supernet, or take up where its checkpoint stands."""
        trainer, module = self._trainer, self._module
        checkpoint = folder.load_checkpoint()
        if checkpoint is not None and (folder.trained or has_ended(checkpoint, trainer)):
            restore(checkpoint, trainer, module)
        else:
            evaluator = _known(self._mutated_model_space).evaluator
            if checkpoint is not None:
                _logger.info('Training goes on after epoch %d.', checkpoint['epoch'] + 1)
                evaluator.fit_kwargs['ckpt_path'] = str(folder.checkpoint)
            trainer.callbacks.append(  # type: ignore[attr-defined]
                SaveEveryEpoch(folder.checkpoint)
            )
            self._fit(trainer)
        if trainer.is_global_zero and not folder.trained:
            folder.mark_trained(epochs=trainer.current_epoch)

    def _fit(self, trainer: pl.Trainer) -> None:
        """Let NNI's engine run the evaluator; Ctrl-C arrives as KeyboardInterrupt (Lightning makes it SystemExit)."""
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            self.engine.submit_models(_known(self._mutated_model_space))
        except SystemExit:
            if trainer.state.status != TrainerStatus.INTERRUPTED:
                raise
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt('The training of the supernet was interrupted.') from None

    def _search(self, folder: RunFolder) -> None:
        """Search widths. Those that were scored before are taken from the history: the search is run again on them."""
        path = folder.history if self._trainer.is_global_zero else None
        self._history = history = History(path, higher_is_better=self.higher_is_better)
        self._scorer = scorer = self._make_scorer()
        space, budget = self._space, _known(self._budget)
        proposals = self.search.propose(space, budget, np.random.default_rng([self.seed, 1]))
        search_widths(proposals, scorer.score, history, total=self.search.total, name=self.score)
        if path is not None:
            history.export(folder.path, space.labels)
        space.activate(space.full_widths)
        best = history.best(1)
        if best:
            way = 'higher' if self.higher_is_better else 'lower'
            _logger.info('Best of %d widths: %s %.5g (%s is better)', len(history), self.score, best[0].score, way)

    def _make_scorer(self) -> Scorer:
        trainer, module, data = self._trainer, self._module, _known(self._data)
        device, evaluator = trainer.strategy.root_device, _known(self._mutated_model_space).evaluator
        module.trainer = trainer
        module.training_module.trainer = trainer
        if evaluator.datamodule is not None:
            evaluator.datamodule.trainer = trainer
        module.to(device)
        with seeded(self.seed):
            heldout = [to_device(evaluator, batch, device) for batch in data.heldout]
            statistics = [to_device(evaluator, batch, device) for batch in data.batches(self.statistics_batches)]
        return Scorer(
            module,
            sharing=self.sharing,
            heldout=heldout,
            statistics=statistics,
            score=self.score,
            higher_is_better=self.higher_is_better,
            patterns=self.score_patterns,
            seed=self.seed,
            context=trainer.precision_plugin.forward_context,
        )

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
            f'budget={self.budget_spec!r}, sharing={self.sharing!r}, patterns={self.patterns}, search={self.search!r}'
        )

    @property
    def _space(self) -> WidthSpace:
        return self._module.space

    @property
    def _module(self) -> MinMinModule:
        module: MinMinModule = _known(self._mutated_model_space).evaluator.module
        return module

    @property
    def _trainer(self) -> pl.Trainer:
        trainer: pl.Trainer = _known(self._mutated_model_space).evaluator.trainer
        return trainer


def _instance(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f'{name}={value!r} must be a {kind.__name__}.')
    return value


def _at_least(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f'{name}={value!r} must be a whole number, {least} or more.')
    return value


def _known(value: Any) -> Any:
    """Return a value that a run has by now."""
    if value is None:
        raise RuntimeError('The strategy has not been run yet: call NasExperiment(...).run() first.')
    return value
