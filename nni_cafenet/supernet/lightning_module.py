"""Min-min training as a Lightning module around the user's own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import nni.nas.strategy  # noqa: F401  (before nni.nas.oneshot: otherwise NNI loses its one-shot strategies)
import numpy as np
import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from ..errors import TrainingDivergedError
from ..space import WidthSpace
from ..utils import RandomnessOnResume
from .bn_statistics import frozen_norms, norms_in_eval
from .combination import Min
from .combined_step import CombinedStep
from .graph_memory import GraphMemory
from .min_step import LogCalls, MinStep, StepFunctions, StepResult
from .multi_width_step import step_at_widths
from .sharing import Sharing, distinct
from .step_output import loss_of
from .training_options import TrainingOptions

__all__ = ['LogCalls', 'MinMinModule', 'loss_of']

_FORWARDED = (
    'backward',
    'configure_callbacks',
    'configure_gradient_clipping',
    'configure_model',
    'lr_scheduler_step',
    'on_after_batch_transfer',
    'on_before_batch_transfer',
    'on_before_optimizer_step',
    'on_before_zero_grad',
    'on_validation_batch_end',
    'on_validation_batch_start',
    'on_validation_epoch_end',
    'on_validation_epoch_start',
    'on_validation_model_eval',
    'on_validation_model_train',
    'on_validation_model_zero_grad',
    'optimizer_step',
    'optimizer_zero_grad',
    'prepare_data',
    'transfer_batch_to_device',
)
"""Hooks of the user's module that NNI's base class does not forward (it forwards those of epochs and batches)."""


class MinMinModule(BaseOneShotLightningModule):
    """Train the best of several channel sets of a random width, on every batch.

    ``W* = argmin_W E_c [ min_a loss(W_a) ]``: a step draws a width uniformly from the space and several channel sets of
    it, runs the user's ``training_step`` with each on the same batch and random numbers, and returns the smallest loss
    to Lightning for automatic optimization. Effects of the others on running statistics, metrics, attributes, logs and
    random generators are undone (see `MinStep`). All processes draw the same widths and channel sets, and choose by the
    mean loss.

    Lightning's checkpoints hold the generator of widths and channel sets, and ``loader_generator``, that of the
    training loader. For ``memory``, see `CafeNet` and `GraphMemory`. Logs are ``cafenet/loss`` (of the winner),
    ``cafenet/gap`` (worst minus best) and ``cafenet/fixed`` (share of groups whose winning channel set is the leftmost
    one).

    Source: Su et al. 2021, min-min optimization; single batches with a few channel sets are our reading.
    """

    def __init__(
        self,
        training_module: LightningModule,
        *,
        sharing: Sharing,
        channel_sets_per_step: int,
        seed: int,
        loader_generator: torch.Generator | None = None,
        memory: str = 'auto',
        options: TrainingOptions | None = None,
    ) -> None:
        super().__init__(training_module)
        self.sharing = sharing
        self.channel_sets_per_step = channel_sets_per_step
        self.rng = np.random.default_rng(seed)
        self.options = TrainingOptions() if options is None else options
        self._min_step = MinStep(training_module, GraphMemory(memory))
        combine = self.options.combine
        self._combined_step = None if isinstance(combine, Min) else CombinedStep(self._min_step, combine)
        self._frozen: frozenset[str] | None = None
        self._randomness = RandomnessOnResume([] if loader_generator is None else [loader_generator])
        for name in _FORWARDED:
            if is_overridden(name, training_module):  # Lightning checks whether some hooks exist
                setattr(self, name, getattr(training_module, name))

    @property
    def automatic_optimization(self) -> bool:
        """True: schedulers, accumulation, clipping and precision work as in the user's module."""
        return True

    @property
    def space(self) -> WidthSpace:
        """The supernet."""
        model = self.model
        if not isinstance(model, WidthSpace):
            raise TypeError(f'The model of the evaluator must be a WidthSpace, not {type(model).__name__}.')
        return model

    @property
    def frozen_statistics(self) -> frozenset[str]:
        """Names of batch normalizations in evaluation mode while the supernet trains."""
        return frozen_norms(self.space) if self._frozen is None else self._frozen

    # --- training ---------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int, *extra: Any) -> Any:
        """Run the user's training step on channel sets of a random width; return the output of the best one."""
        if batch_idx == 0 or self._frozen is None:
            self._frozen = norms_in_eval(self.space)
        drawn = self.options.sampling.draw(self.space, self.rng)
        sets = [
            distinct(self.sharing.sample_several(self.space.groups, own, self.channel_sets_per_step, self.rng))
            for own in map(self.space.group_widths, drawn)
        ]
        step = partial(self.training_module.training_step, batch, batch_idx, *extra)
        if len(drawn) > 1:
            widths = [(own, self._steps(each, step)) for each, own in zip(drawn, sets)]
            best, losses = step_at_widths(
                self.training_module, self.space, widths, self._run_width, self.options.distill
            )
        elif len(sets[0]) == 1:
            self.space.activate(drawn[0], sets[0][0])
            output = step()
            best = StepResult(sets[0][0], self._loss(output), True, output)
            losses = [[best.loss]]
        else:
            best, own = self._run_width(sets[0], self._steps(drawn[0], step))
            losses = [own]
        for each, own in zip(drawn, losses):
            self._check_finite(own, best.output, each)
        for args, kwargs in best.logs.calls:
            self.log(*args, **kwargs)
        self._report(best.loss, float(np.mean([_gap(own) for own in losses])), best.channel_sets)
        return best.output

    def _steps(self, widths: dict[str, int], step: Callable[[], Any]) -> StepFunctions:
        """Return the functions of a step at given widths."""
        any_process = self._any if self.trainer.world_size > 1 else None
        return StepFunctions(partial(self.space.activate, widths), step, self._loss, self.device, any_process)

    def _run_width(self, sets: Sequence[dict[str, Tensor]], steps: StepFunctions) -> tuple[StepResult, list[float]]:
        """Run a step with the channel sets of a width; return the result that counts, and all losses."""
        if len(sets) == 1:
            result = self._min_step.run(sets[0], steps)
            return result, [result.loss]
        return self._combined_step(sets, steps) if self._combined_step is not None else self._min_step(sets, steps)

    def _loss(self, output: Any) -> float:
        """Return the loss of an output, averaged over processes; NaN if the step skipped the batch."""
        return math.nan if output is None else self._mean(loss_of(output).detach())

    def _any(self, flag: bool) -> bool:
        """Whether a flag is set in any process."""
        return self._mean(torch.tensor(float(flag), device=self.device)) > 0

    def _mean(self, value: Tensor) -> float:
        return float(self.trainer.strategy.reduce(value, reduce_op='mean'))

    def _check_finite(self, losses: list[float], output: Any, widths: Mapping[str, int]) -> None:
        if output is not None and all(math.isnan(loss) for loss in losses):
            raise TrainingDivergedError(
                f'At step {self.global_step} the loss is not a number for each of {len(losses)} channel sets of the widths '
                f'{dict(widths)}. Lower the learning rate, clip gradients, or check the data.'
            )

    def _report(self, loss: float, gap: float, channel_sets: Mapping[str, Tensor]) -> None:
        fixed = np.mean([int(chosen[-1]) == len(chosen) - 1 for chosen in channel_sets.values()])
        values = {'cafenet/loss': loss, 'cafenet/gap': gap, 'cafenet/fixed': float(fixed)}
        self.log_dict({name: value for name, value in values.items() if math.isfinite(value)})

    # --- validation: the largest network, on held-out training data -------------------------------

    def on_validation_start(self) -> Any:
        """Validate the full network."""
        self.space.activate(self.space.full_widths)
        return super().on_validation_start()

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Run the user's validation step."""
        return self.training_module.validation_step(*args, **kwargs)

    # --- resuming ---------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the states of all random generators with the weights."""
        self.training_module.on_save_checkpoint(checkpoint)
        checkpoint['cafenet'] = {
            'rng': json.dumps(self.rng.bit_generator.state),
            'frozen': None if self._frozen is None else sorted(self._frozen),
            **self._randomness.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the random generators; the global ones when the next epoch starts."""
        self.training_module.on_load_checkpoint(checkpoint)
        state = checkpoint['cafenet']
        self.rng.bit_generator.state = json.loads(state['rng'])
        frozen = state['frozen']
        self._frozen = None if frozen is None else frozenset(frozen)
        self._randomness.resume_from(state)

    def on_fit_start(self) -> Any:
        """Restore random states of the resumed run."""
        result = super().on_fit_start()
        self._randomness.on_fit_start(self.trainer)
        return result

    def on_train_start(self) -> Any:
        """Record random states."""
        self._randomness.on_train_start(self.trainer)
        return super().on_train_start()

    def on_train_epoch_start(self) -> Any:
        """Restore random states of the resumed run."""
        self._randomness.on_train_epoch_start(self.trainer)
        return super().on_train_epoch_start()


def _gap(losses: Sequence[float]) -> float:
    """Return the worst loss minus the best."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    return max(finite) - min(finite) if finite else 0.0
