"""A budget for NNI's multi-trial strategies: networks above it are moved into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from nni.nas.execution.event import ModelEvent, ModelEventType
from nni.nas.space import ExecutableModelSpace, ModelStatus, RawFormatModelSpace, SimplifiedModelSpace
from nni.nas.strategy.middleware import StrategyMiddleware

from ..options import BudgetSpec
from ..search import Budget, IntArray, LevelSpace, move_within, new_rows, sample_levels
from ..space import SimplifiedWidthSpace, WidthSpace
from ..stages import width_space_of
from ..utils import check_seed as checked_seed

__all__ = ['WithinBudget']

_TRIES = 16  # ways into the budget that are tried for a network that is new
_FLOOR = 0.8  # share of the budget that another network should use where none of them is

_logger = logging.getLogger(__name__)


class WithinBudget(StrategyMiddleware):
    """Keep every network that a multi-trial strategy trains within a budget, by shrinking it.

    ``Chain(Random(), WithinBudget('50%'))``: a network above the budget shrinks along a random path until it fits, and is
    then trained; the strategy gets its metric. Nothing is rejected, so a tight budget does not starve the strategy. The
    ``sample`` (and ``mutation_summary``) of the submitted model changes to the smaller widths, and ``export_top_models``
    returns networks within the budget only.

    Parameters
    ----------
    budget
        Largest cost of a network: ``'50%'`` of the full network's MACs, ``'300M'`` or ``3e8`` MACs, or a dict such as
        ``{'macs': '50%', 'params': '5M'}``. Never exceeded. ``{'latency': '5ms', 'table': 'lat.json'}`` limits the time
        that a `LatencyTable` predicts.
    seed
        Seed of the random paths, 0 or more.

    Raises
    ------
    TypeError, ValueError
        If ``seed`` is out of range or the budget cannot be read; when the experiment starts, if the budget cannot be
        reached or the model space is not a `WidthSpace`.

    Notes
    -----
    Equal submitted widths always shrink to equal widths. Shrunk networks differ from all others while the budget allows
    more; once every allowed network has been submitted, the strategy is told that its budget is exhausted. Regularized
    evolution continues from the shrunk widths; `TPE` and `PolicyBasedRL` learn the metric for the widths that they
    proposed. Put this middleware before others.
    """

    def __init__(self, budget: Any, *, seed: int = 0) -> None:
        super().__init__()
        self.budget_spec = BudgetSpec.of(budget)
        self.seed = checked_seed(seed)
        self._rng = np.random.default_rng(self.seed)
        self._levels: LevelSpace | None = None
        self._seen: set[bytes] = set()
        self._moves: dict[bytes, bytes] = {}
        self._counts = {'submitted': 0, 'moved': 0}
        self._exhausted = False

    def extra_repr(self) -> str:
        """Return the budget."""
        return f'budget={self.budget_spec!r}'

    # --- the budget -------------------------------------------------------------------------------

    def _initialize_model_space(self, model_space: ExecutableModelSpace) -> ExecutableModelSpace:
        space = _width_space(model_space)
        if self.budget_spec.latency is not None and 'table' not in self.budget_spec.measured:
            raise ValueError(
                f'budget={self.budget_spec!r}: give the latencies with it, so that an experiment resumes with the '
                "same ones: LatencyTable.measure(space).save('lat.json'), then {'latency': ..., 'table': 'lat.json'}."
            )
        budget = Budget.parse(self.budget_spec, space)
        self._levels = LevelSpace(space, budget)
        _logger.info('Networks are moved into the budget: %s.', budget.describe())
        return super()._initialize_model_space(model_space)

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        """Submit models for training, those above the budget with other widths."""
        for model in models:
            self._bring_within(model)
        self.engine.submit_models(*models)

    def _bring_within(self, model: ExecutableModelSpace) -> None:
        space = self._space
        if not model.sample:
            raise TypeError(
                'WithinBudget is for strategies that train each network by itself, such as Random() or TPE(). A '
                'one-shot strategy trains one supernet; CafeNet(budget=...) keeps a budget itself.'
            )
        self._counts['submitted'] += 1
        widths = {label: model.sample[label] for label in space.labels if label in model.sample}
        levels = space.from_dicts([widths], 'sample')
        if space.budget.allows(space.widths(levels))[0]:
            self._seen.add(levels[0].tobytes())
            return
        key = levels[0].tobytes()
        if key not in self._moves:
            self._moves[key] = self._move(levels).tobytes()
        (moved,) = space.as_dicts(np.frombuffer(self._moves[key], np.int64)[None])
        self._counts['moved'] += 1
        model.sample = {**model.sample, **moved}
        if isinstance(model, SimplifiedWidthSpace):
            model.mutation_summary = self.model_space.summarize(model.sample)
        _logger.debug('Moved into the budget: %s to %s', widths, moved)

    def _move(self, levels: IntArray) -> IntArray:
        """Return other levels (groups,) within the budget, new ones if there are any."""
        space, moved = self._space, levels
        for _ in range(_TRIES):
            moved = move_within(space, levels, 0.0, self._rng)
            if new_rows(moved, self._seen)[0]:
                return np.asarray(moved[0])
        other = sample_levels(space, 1, self._rng, _FLOOR, self._seen)
        if len(other) == 0:
            if not self._exhausted:
                _logger.info('Each of the %d networks that the budget allows has been submitted.', len(self._seen))
            self._exhausted = True
            return np.asarray(moved[0])
        return np.asarray(other[0])

    def budget_available(self) -> bool:
        """Return whether more networks can be trained."""
        return not self._exhausted and bool(self.engine.budget_available())

    @property
    def _space(self) -> LevelSpace:
        if self._levels is None:
            raise RuntimeError('WithinBudget works in a chain: NasExperiment(space, evaluator, Chain(Random(), ...)).')
        return self._levels

    # --- what passes through ----------------------------------------------------------------------

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        """List the models that were submitted, with the widths that were trained."""
        return self.engine.list_models(status)

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        """Wait for models, or for all."""
        self.engine.wait_models(*models)

    def register_model_event_callback(self, event_type: ModelEventType, callback: Any) -> None:
        """Register a callback for metrics and ends of training; they refer to the submitted model."""
        self.engine.register_model_event_callback(event_type, callback)

    def unregister_model_event_callback(self, event_type: ModelEventType, callback: Any) -> None:
        """Unregister a callback."""
        self.engine.unregister_model_event_callback(event_type, callback)

    def dispatch_model_event(self, event: ModelEvent | ModelEventType | str, **kwargs: Any) -> None:
        """Pass an event on to the callbacks."""
        self.engine.dispatch_model_event(event, **kwargs)

    def _cleanup(self) -> None:
        _logger.info('%d of %d networks were moved into the budget.', self._counts['moved'], self._counts['submitted'])

    # --- resuming ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the state for NNI's checkpoint: plain values."""
        return {
            'limits': {} if self._levels is None else dict(self._levels.budget.limits),
            'generator': json.dumps(self._rng.bit_generator.state),
            'seen': [_plain(levels) for levels in sorted(self._seen)],
            'moves': [[_plain(start), _plain(end)] for start, end in self._moves.items()],
            'counts': dict(self._counts),
            'exhausted': self._exhausted,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from the state of another process.

        Raises
        ------
        ValueError
            If it has another budget.
        """
        limits = {} if self._levels is None else self._levels.budget.limits
        if state_dict['limits'] != limits:
            raise ValueError(
                f'budget={self.budget_spec!r} allows {limits}, but the experiment that is resumed allowed '
                f'{state_dict["limits"]}. Give the same budget and model, or start a new experiment.'
            )
        self._rng.bit_generator.state = json.loads(state_dict['generator'])
        self._seen = {_key(levels) for levels in state_dict['seen']}
        self._moves = {_key(start): _key(end) for start, end in state_dict['moves']}
        self._counts = dict(state_dict['counts'])
        self._exhausted = state_dict['exhausted']


def _plain(key: bytes) -> list[int]:
    levels: list[int] = np.frombuffer(key, np.int64).tolist()
    return levels


def _key(levels: list[int]) -> bytes:
    return np.array(levels, np.int64).tobytes()


def _width_space(model_space: ExecutableModelSpace) -> WidthSpace:
    space: Any = model_space
    if isinstance(model_space, SimplifiedWidthSpace):
        space = model_space.width_space
    elif isinstance(model_space, RawFormatModelSpace):
        space = model_space.model_space
    elif type(model_space) is SimplifiedModelSpace:
        space = model_space.model.trace_copy().get(traceable=False)
    space = width_space_of(space, model_space.evaluator, travels=False)
    if not isinstance(space, WidthSpace):
        raise TypeError(
            f"WithinBudget knows the costs of a WidthSpace in NNI's formats 'simplified' and 'raw', not of "
            f'{type(space).__name__}. Make one of your model: WidthMutator().mutate(model, example_input=...).'
        )
    return space
