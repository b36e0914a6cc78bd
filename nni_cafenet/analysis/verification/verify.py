"""Real forwards that hold a channel graph against its model.

At random widths and random channel sets the model is run twice: on slices of its tensors (as the slim model runs), and
whole, with everything that was not selected set to zero. Where no operator mixes channels the two must agree. Elsewhere
the slices must run, and the full model must not notice when the channels of a group change places, everywhere at once:
normalization, softmax and means do not depend on the order. A group that does not stand this is fixed, unless the model
stands it once numbers that its modules keep follow the widths (`repair`).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ...errors import first_line
from ...graph import ChannelGraph, ExampleInput, Polynomial
from ...slicing import Positions, Selection, TensorSlots, call_with, open_index, take, using_attributes, using_mode
from ...utils import tensors_in
from ..model_state import ModelState, untouched
from .attribute_search import AttributeSearch
from .batch_dimension import with_known_batch
from .macs import PassingCounter, without_fused_attention
from .overrides import InDouble, Transform, ValueOverride, changed, converted, masked, permuted, replaced
from .probe_values import check_device, probe_inputs, probe_tensors
from .replay import Decision, OpReplay
from .steady_training import PHASES, SteadyTraining

__all__ = ['SameOutputs', 'beyond_masks', 'confirmed', 'random_channel_sets', 'repaired', 'verify', 'warn_of']

_logger = logging.getLogger(__name__)

_LARGE = 10**8
"""Parameters from which on the order of channels is tried in the model's own precision, not in float64."""

_MANY = 10**7
"""Elements of a tensor from which on a part of it is copied at once, not dimension by dimension."""

_CHEAP = 10**9
"""MACs of the example input below which every check is made at three random widths, not at one."""

_REPAIRS = 12
"""Places of a model's code in which numbers that modules keep are looked for, one after the other."""

_REDRAWS = 20
"""How often a channel set is drawn until it is another one from the other end."""

_IN_VAIN = 4
"""How often the failing_groups may be looked for in vain until all groups that are left are taken for failing_groups."""


def verify(
    model: nn.Module,
    graph: ChannelGraph,
    example: ExampleInput,
    seed: int = 0,
    *,
    quiet: bool = False,
) -> ChannelGraph:
    """Return the graph without the groups that the model cannot really change.

    Parameters
    ----------
    model
        The model that the graph was made from. It is left as it was.
    graph
        Its channel graph.
    example
        What the model is called with.
    seed
        Seed of the random widths and channel sets.
    quiet
        Leave the warnings to the caller.
    """
    checks = _Checks(model, graph, with_known_batch(example, model), np.random.default_rng(seed))
    with checks.running():
        reasons = checks.failing_groups(list(graph.labels))
        if not quiet:
            warn_of(reasons)
        graph = checks.graph.without(reasons)
        return _with_measured_macs(graph, checks)


def warn_of(reasons: Mapping[str, str]) -> None:
    """Warn of groups that keep their width, given as ``{label: why}``."""
    for label, reason in reasons.items():
        _logger.warning('The channels of %s keep their width: %s.', label, reason)


def confirmed(model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0) -> ChannelGraph | None:
    """Return the verified graph if the model can really change all its groups together; None if not.

    As `verify`, without looking for failing_groups.
    """
    checks = _Checks(model, graph, example, np.random.default_rng(seed))
    with checks.running():
        return _with_measured_macs(graph, checks) if checks.failure(list(graph.labels)) is None else None


def repaired(model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0) -> ChannelGraph | None:
    """Return the verified graph, with numbers of modules following widths, if it is then `confirmed`; None if not."""
    checks = _Checks(model, graph, example, np.random.default_rng(seed))
    with checks.running():
        labels = list(graph.labels)
        stands_now = checks.failure(labels) is None or checks.repair(labels)
        return _with_measured_macs(checks.graph, checks) if stands_now else None


def beyond_masks(model: nn.Module, graph: ChannelGraph, example: ExampleInput, seed: int = 0) -> dict[str, str]:
    """Return the groups whose removal zeros in parameters cannot express, ``{label: why}``.

    With every parameter zero wherever it is not selected, and buffers as they are, the full model must compute what the
    slices compute: to 1e-9 of the largest output in float64, 1e4 times the rounding of a model that does not run in it.
    Normalization over cut channels, softmax and numbers that follow a width make a difference.

    Parameters
    ----------
    model, graph, example, seed
        As in `verify`. The graph stands.
    """
    checks = _MaskChecks(model, graph, example, np.random.default_rng(seed))
    with checks.running():
        return checks.failing_groups(list(graph.labels))


class SameOutputs:
    """Tells whether a model still computes what it computed when this was made: in evaluation mode, but for rounding.

    Parameters
    ----------
    model
        The model, with values.
    graph
        Its channel graph.
    example
        What it is called with; it is brought to the device and the precision of the model.

    Attributes
    ----------
    stand_ins
        ``{name: tensor}`` that stand for parameters whose own values hide what the model computes (zeros). What is done
        to such a parameter must be done to its stand-in.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput) -> None:
        self._checks = _Checks(model, graph, example.brought_to(model), np.random.default_rng(0))
        self.stand_ins: Mapping[str, Tensor] = self._checks.stand_ins
        self._run(lambda: self._checks.in_order)

    def __call__(self) -> bool:
        """Run the model; False if what it returns has changed."""
        return self._run(self._checks.unchanged)

    def _run(self, check: Callable[[], Any]) -> Any:
        devices = [self._checks.device] if self._checks.device.type == 'cuda' else []
        with self._checks.running(), torch.random.fork_rng(devices):
            torch.manual_seed(0)  # the same noise in every run
            return check()


def random_channel_sets(
    graph: ChannelGraph, labels: Sequence[str], rng: np.random.Generator
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return a random channel set of a random width for each of some groups.

    None is the same from both ends where that can be: it would hide channels that stand in reverse.
    """
    sets = {}
    for group in graph.groups:
        if group.label in labels:
            for _ in range(_REDRAWS):
                width = int(rng.integers(1, group.width)) if group.width > 1 else 1
                chosen = np.sort(rng.choice(group.width, size=width, replace=False)).astype(np.int64)
                if not np.array_equal(chosen, group.width - 1 - chosen[::-1]):
                    break
            sets[group.label] = chosen
    return sets


class _Checks:
    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput, rng: np.random.Generator) -> None:
        self.model = model
        self.graph = graph
        self.example = example
        self.rng = rng
        self.recorded = graph.recorded
        self.channel_mixing = {group.label for group in graph.groups if group.channel_mixing}
        self.device = check_device(model)
        self.stand_ins = probe_tensors(model, self.device)
        self._telling = replaced(self.stand_ins)
        if any(tensor.is_meta for tensor in model.parameters()):
            self.example = probe_inputs(example, self.device)
        macs = int(graph.cost.macs_of(graph.full_widths[None])[0]) * example.batch_size if graph.groups else 0
        self.draws = 3 if macs < _CHEAP else 1
        self.trained_only = {group.label for group in graph.groups if group.macs_per_channel == 0}
        self._full: dict[torch.dtype | None, list[Tensor]] = {}
        self._taken: dict[torch.dtype | None, list[Decision]] = {}
        self._places = TensorSlots(model)
        modules = self._places.modules
        self.failed: Mapping[str, Any] | None = None
        self._macs: dict[bool, int | None] = {}  # of the whole model, and at the widths of these sets
        self._counted: Mapping[str, Any] = {}
        self._attributes = graph.attributes
        self._search = AttributeSearch(model)
        self._training: _TrainingChecks | None = None
        self._state: ModelState | None = None
        self._kept_in: torch.dtype | None = None
        self._watched = [modules[record.label] for record in graph.fixed if graph.recorded and record.label in modules]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the model in evaluation mode, without gradients; it is left as it was, also where a check fails."""
        with using_mode(self.model, training=False), torch.no_grad(), untouched(self.model) as state:
            self._state, self._kept_in = state, None
            yield

    def _noise(self) -> contextlib.AbstractContextManager[Any]:
        """What a run is made inside of, for it to be like any other."""
        return contextlib.nullcontext()

    def _in(self, dtype: torch.dtype | None) -> None:
        """Drop what forwards in another precision have left in the model's attributes."""
        if dtype != self._kept_in and self._state is not None:
            self._state.restore()
        self._kept_in = dtype

    def failing_groups(self, labels: list[str]) -> dict[str, str]:
        """Find the groups with which the model fails, and why, until it stands with all others together."""
        reasons: dict[str, str] = {}
        left, in_vain = labels, 0
        while (problem := self.failure(left)) is not None and not self.repair(left):
            found: dict[str, str] = {}
            self._bisect([], left, found)
            in_vain += not found
            reasons.update(found if in_vain < _IN_VAIN else dict.fromkeys(left, problem))
            left = [label for label in left if label not in reasons]
        return reasons

    def _bisect(self, accepted: list[str], candidates: list[str], reasons: dict[str, str]) -> list[str]:
        problem = self.failure([*accepted, *candidates]) if candidates else None
        if problem is None:
            return [*accepted, *candidates]
        if len(candidates) == 1:
            if self.repair([*accepted, *candidates]):
                return [*accepted, *candidates]
            reasons[candidates[0]] = problem
            return accepted
        half = len(candidates) // 2
        accepted = self._bisect(accepted, candidates[:half], reasons)
        return self._bisect(accepted, candidates[half:], reasons)

    def repair(self, labels: list[str]) -> bool:
        """Let numbers of modules follow widths until the model stands with these groups; False if it does not.

        Only after a `problem` with these groups.
        """
        before = self.graph
        for _ in range(_REPAIRS):
            sets = self.failed
            if sets is None:
                break
            found = self._search.advance(self.graph, partial(self.run_slices, sets, self.example, None))
            if found is None:
                break
            known, self.graph = self.graph, found
            if self.failure(labels) is None:
                return True
            if found is known:
                break
            if self.failed is None:
                self._search.forbid(found)
                self.graph, self.failed = known, sets
        self.graph = before
        return False

    def failure(self, labels: list[str]) -> str | None:
        """Run the model with these groups at several random widths; say what is wrong, or None.

        One channel set may hide what is wrong: a wrong order of channels, where the set is the same in both orders.
        """
        self._macs.pop(False, None)
        for _ in range(self.draws if labels else 0):
            found = self._failure_of_one_draw(labels)
            if found is not None:
                return found
        return self._failure_in_training(labels)

    def _failure_in_training(self, labels: list[str]) -> str | None:
        """Say what is wrong in training mode alone: channels that change places there, or are chosen."""
        if not labels or not self.graph.trains_otherwise or self.recorded or self.device.type == 'meta':
            return None
        if self._training is None:
            self._training = _TrainingChecks(self.model, self.graph, self.example.with_batch_of_two(), self.rng)
        self._training.graph, self.failed = self.graph, None
        with self._training.running():
            found = self._training.failure(labels) if self._training.runs else None
        return None if found is None else f'in training mode, {found}'

    def _failure_of_one_draw(self, labels: list[str]) -> str | None:
        sets = random_channel_sets(self.graph, labels, self.rng)
        self.failed = None
        pure = {label: chosen for label, chosen in sets.items() if label not in self.channel_mixing}
        try:
            mixed = [label for label in sets if label in self.channel_mixing]
            if mixed:
                with self._counting(sets):
                    self.run_slices(sets, self.example)
                if not self._unordered(mixed) or not self._unordered_slices(sets, mixed):
                    return 'its channels do not stand where the analysis thinks'
            if any(label in self.trained_only for label in sets):
                with using_mode(self.model, training=True):
                    self.run_slices(sets, self.example.with_batch_of_two())
            verdict = None if self.recorded else self._agree(pure, None, last=False)
            if verdict is None:
                verdict = self._agree(pure, self._precise, last=True)
            if not verdict:
                return 'at another width the network computes something else'
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            self.failed = sets
            name = type(error).__name__
            return f'at another width the model fails with {name}: {first_line(error, 200, name)}'
        return None

    @cached_property
    def _precise(self) -> torch.dtype | None:
        """float64; None where the model's code does not run in it, for the precision that the model has."""
        return torch.float64 if self._runs_in(torch.float64) else None

    def _runs_in(self, dtype: torch.dtype) -> bool:
        try:
            self._whole(dtype)
        except Exception:  # noqa: BLE001 - the user's code may insist on a precision
            return False
        return True

    def _agree(self, sets: Mapping[str, Any], dtype: torch.dtype | None, *, last: bool) -> bool | None:
        """Whether slices and zeros agree; None where the numbers are too close to tell, unless it is the last try."""
        whole = self._whole(dtype)
        with self._deciding() as decisions:
            zeros = self._outputs(dtype, masked(self.graph, sets, self.device))
        with self._deciding(decisions.taken), self._counting(sets):
            sliced = self._watching(lambda: self.run_slices(sets, _converted(self.example, dtype), dtype))
        if [leaf.shape for leaf in sliced] != [leaf.shape for leaf in zeros]:
            return False
        if self.device.type == 'meta':
            return True
        if last and not all(bool(leaf.isfinite().all()) for leaf in whole if leaf.is_floating_point()):
            _logger.warning('The model returns values that are not finite: only shapes are checked there.')
        verdicts = [
            _verdict(s, z, w if w.shape == z.shape else torch.zeros_like(z), last=last)
            for s, z, w in zip(sliced, zeros, whole)
            if z.numel() and z.is_floating_point()
        ]
        return False if False in verdicts else None if None in verdicts else True

    def _unordered(self, labels: Sequence[str]) -> bool:
        """Whether the full model gives the same when the channels of these groups change places."""
        return self.unchanged(permuted(self.graph, labels, self.rng, self.device))

    def unchanged(self, *changes: Transform) -> bool:
        """Whether the full model gives with other values what it gave `in_order`, but for rounding."""
        if self.device.type == 'meta':
            return True
        before = self.in_order
        with self._deciding(self._taken.get(self._digits, ())):
            now = self._outputs(self._digits, *changes)
        return _alike(before, now)

    @cached_property
    def _digits(self) -> torch.dtype | None:
        """The precision in which orders of channels are compared; None for the model's own."""
        parameters = list(self.model.parameters())
        small = sum(parameter.numel() for parameter in parameters) < _LARGE
        if (small or self.recorded) and self._precise is not None:
            return self._precise
        half = any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in parameters)
        return torch.float32 if half and self._runs_in(torch.float32) else None

    @property
    def in_order(self) -> list[Tensor]:
        """What the full model returns; it is run once."""
        return self._whole(self._digits)

    def _unordered_slices(self, sets: Mapping[str, Any], labels: Sequence[str]) -> bool:
        """Whether slices give the same when their channels of these groups change places.

        Asked where numbers that may be equal to a width by chance follow it: the slices then might stand in wrong places.
        """
        if self.device.type == 'meta' or self.graph.attributes == self._attributes:
            return True
        widths = {group.label: group.width for group in self.graph.groups if group.label in labels and group.width > 2}
        several = {label: self.rng.integers(2, width) for label, width in widths.items()}  # one has no other place
        sets = {
            **sets,
            **{label: np.sort(self.rng.choice(widths[label], n, replace=False)) for label, n in several.items()},
        }
        other = permuted(self.graph, labels, self.rng, self.device, within=sets)
        runs: list[list[Tensor]] = []
        taken: list[Decision] = []
        for change in (None, other):
            with self._deciding(taken) as decisions:
                example = _converted(self.example, self._precise)
                runs.append(tensors_in(self.run_slices(sets, example, self._precise, change=change)))
            taken = decisions.taken
        return _alike(*runs)

    @contextlib.contextmanager
    def _deciding(self, taken: Sequence[Decision] = ()) -> Iterator[OpReplay]:
        """Record the decisions of a run, or repeat those taken, where they matter."""
        decisions = OpReplay(taken)
        with decisions if self.recorded else contextlib.nullcontext():
            yield decisions

    def _counting(self, sets: Mapping[str, Any]) -> contextlib.AbstractContextManager[Any]:
        return self._counted_run(sets)

    @contextlib.contextmanager
    def _counted_run(self, sets: Mapping[str, Any]) -> Iterator[None]:
        """Count the MACs of a run that is made anyway: of the first whole one, and of the first one of a `problem`."""
        # What another precision decides has other MACs; those of several samples are not those of one, times so many.
        if self.recorded or (not sets) in self._macs or self.example.batch_size > 1:
            yield
            return
        with PassingCounter() as counter:
            yield
        self._macs[not sets] = counter.macs
        self._counted = sets or self._counted

    def counted(self) -> list[tuple[Mapping[str, Any], int]]:
        """Return channel sets and the MACs of one sample that were counted with them, for the last `problem`.

        The whole model is one of them. Empty where they were not counted.
        """
        whole, part = self._macs.get(True), self._macs.get(False)
        return [] if whole is None or part is None else [({}, whole), (self._counted, part)]

    def _whole(self, dtype: torch.dtype | None) -> list[Tensor]:
        """Return what the full model returns, in some precision; it is run once."""
        if dtype not in self._full:
            with self._deciding() as decisions, self._counting({}), self._watching_writes():
                self._full[dtype] = self._outputs(dtype)
            self._taken[dtype] = decisions.taken
        return self._full[dtype]

    def _watching_writes(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._state is None else self._state.watching()

    def _outputs(self, dtype: torch.dtype | None, *changes: Transform) -> list[Tensor]:
        """Run the whole model in some precision, with other values for its tensors; it is left as it was."""
        self._in(dtype)
        example = _converted(self.example, dtype)
        every = (self._telling, *changes, *(() if dtype is None else (converted(dtype),)))
        places = self._standing
        buffers = {name: changed(name, buffer, *every).clone() for name, buffer in places.buffers().items()}
        with _precision(dtype), self._noise(), ValueOverride(places.parameters(), *every):
            return self._watching(lambda: call_with(self.model, buffers, example.args, example.kwargs, places))

    @property
    def _standing(self) -> TensorSlots:
        """The places of the model's tensors; a forward may have put other modules into it."""
        if not self._places.still_there:
            self._places = TensorSlots(self.model)
        return self._places

    def _watching(self, call: Callable[[], Any]) -> list[Tensor]:
        """Return the tensors that a call of the model returns.

        Where a detector finds nothing they are empty: what its layers of fixed width make is returned as well.
        """
        seen: list[Any] = []
        hooks = [
            layer.register_forward_hook(lambda module, args, output: seen.append(output)) for layer in self._watched
        ]
        try:
            output = call()
        finally:
            for hook in hooks:
                hook.remove()
        return tensors_in((output, seen))

    def run_slices(
        self,
        sets: Mapping[str, Any],
        example: ExampleInput,
        dtype: torch.dtype | None = None,
        graph: ChannelGraph | None = None,
        change: Transform | None = None,
        watch: contextlib.AbstractContextManager[Any] | None = None,
    ) -> Any:
        """Call the model on the slices that channel sets select, inside ``watch``; its buffers stay as they are."""
        self._in(dtype)
        selection = Selection(graph or self.graph, sets)
        places = self._standing
        buffers = places.buffers()
        changes = [self._telling] if change is None else [self._telling, change]
        sliced = {
            name: _part(changed(name, tensor.detach(), *changes), selection.positions.get(name, ()))
            for name, tensor in [*places.parameters().items(), *buffers.items()]
        }
        if dtype is not None:
            sliced = {name: converted(dtype)(name, tensor) for name, tensor in sliced.items()}
        sliced.update({name: sliced[name].clone() for name in buffers})
        inputs = example.fresh()
        with (
            using_attributes(self.model, selection.attributes(self.model)),
            _precision(dtype),
            self._noise(),
            watch or contextlib.nullcontext(),
        ):
            return call_with(self.model, sliced, inputs.args, inputs.kwargs, places)


class _TrainingChecks(_Checks):
    """The same questions in training mode, without its noise (see `SteadyTraining`).

    Batch normalization uses its running statistics: of the few values that deep layers of small pictures have, those of
    the batch have a variance of rounding alone, and dividing by it makes rounding as large as what is computed.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput, rng: np.random.Generator) -> None:
        super().__init__(model, graph, example, rng)
        self._mode = SteadyTraining(statistics=False)
        self.trained_only = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with untouched(self.model) as outer, using_mode(self.model, training=True), untouched(self.model) as state:
            self._state, self._kept_in = state, None
            with outer.watching() if not self._full else contextlib.nullcontext():
                yield

    @cached_property
    def runs(self) -> bool:
        """Whether the model runs in training mode on the example: detectors ask for targets there."""
        try:
            self._whole(None)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            _logger.info('%s is not verified in training mode: %s', type(self.model).__name__, first_line(error))
            return False
        return True

    def failure(self, labels: list[str]) -> str | None:
        phases = PHASES if self._mode.drew else PHASES[:1]
        for phase in itertools.islice(itertools.cycle(phases), max(self.draws, len(phases))):
            if phase != self._mode.phase:
                self._full.clear()
                self._taken.clear()
            self._mode.phase = phase
            found = self._failure_of_one_draw(labels)
            if found is not None:
                return found
        return None

    def _failure_of_one_draw(self, labels: list[str]) -> str | None:
        try:
            if not self._unordered(labels):  # what is chosen by chance may be the same in slices
                return 'its channels do not stand where the analysis thinks'
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            return f'the model fails with {type(error).__name__}: {first_line(error, 200)}'
        return super()._failure_of_one_draw(labels)

    def _noise(self) -> contextlib.AbstractContextManager[Any]:
        return self._mode

    def _counting(self, sets: Mapping[str, Any]) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()


class _MaskChecks(_Checks):
    """The same search for failing_groups, with another question."""

    def repair(self, labels: list[str]) -> bool:
        return False

    def _failure_of_one_draw(self, labels: list[str]) -> str | None:
        sets = random_channel_sets(self.graph, labels, self.rng)
        zeros = masked(self.graph, sets, self.device)
        parameters = dict(self.model.named_parameters())
        with self._deciding() as decisions:
            whole = self._outputs(
                self._precise, lambda name, tensor: zeros(name, tensor) if name in parameters else tensor
            )
        with self._deciding(decisions.taken):
            sliced = self._watching(
                lambda: self.run_slices(sets, _converted(self.example, self._precise), self._precise)
            )
        if [leaf.shape for leaf in whole] == [leaf.shape for leaf in sliced] and all(map(_equal, whole, sliced)):
            return None
        return 'zeros in its weights do not do what its removal does (normalization, softmax, a scale by the width)'


def _with_measured_macs(graph: ChannelGraph, checks: _Checks) -> ChannelGraph:
    """Add the MACs of operators that no rule counts, where they are the same at every width."""
    if not graph.groups:
        return graph
    differences = [_beyond_the_cost_model(graph, checks, *each) for each in checks.counted()]
    if not differences or any(differences):
        differences = _differences_of_forwards(graph, checks)
    if len(set(differences)) > 1:
        _logger.warning('The counted MACs and the cost model differ by %d and %d at two widths.', *differences)
    if min(differences) <= 0:
        return graph
    macs = graph.cost.macs
    degree = macs.factors.shape[1]
    constant = Polynomial(
        np.append(macs.constants, min(differences)),
        np.vstack([macs.factors, np.full((1, degree), -1, dtype=np.int64)]),
    )
    return replace(graph, cost=replace(graph.cost, macs=constant))


def _differences_of_forwards(graph: ChannelGraph, checks: _Checks) -> list[int]:
    """Count the MACs of forwards of their own, by torch's counter, and return what the cost model does not know."""
    sets = random_channel_sets(graph, graph.labels, checks.rng)
    differences = []
    checks.graph = graph
    for chosen in ({},) if checks.recorded else ({}, sets):
        counter = FlopCounterMode(display=False)
        with without_fused_attention():
            checks.run_slices(chosen, checks.example.with_batch(1), watch=counter)
        differences.append(_beyond_the_cost_model(graph, checks, chosen, counter.get_total_flops() // 2))
    return differences


def _beyond_the_cost_model(graph: ChannelGraph, checks: _Checks, chosen: Mapping[str, Any], macs: int) -> int:
    widths = [len(chosen.get(group.label, range(group.width))) for group in graph.groups]
    return macs - int(graph.cost.macs_of(np.array([widths], dtype=np.int64))[0])


def _part(tensor: Tensor, positions: Positions) -> Tensor:
    """Return some positions of every dimension, as `take` does.

    At once where the tensor is large, so that there is no copy in between: of the first linear layer of VGG-16 205 MB.
    """
    if tensor.numel() < _MANY or sum(chosen is not None for chosen in positions) < 2:
        return take(tensor, positions)
    return tensor[open_index(tensor, positions)]


def _verdict(sliced: Tensor, zeros: Tensor, whole: Tensor, *, last: bool) -> bool | None:
    """Whether one output is the same, held against what the zeros change; None where it is too close to tell."""
    if not bool(whole.isfinite().all()):
        return True if last else None  # there is nothing to hold it against
    if not bool(sliced.isfinite().all()):
        return False if last else None
    if not bool(zeros.isfinite().all()):
        return True if last else None
    error = float((sliced - zeros).abs().max())
    effect = float((whole - zeros).abs().max())
    scale = float(whole.abs().max())
    negligible = 1e4 * torch.finfo(zeros.dtype).eps * scale
    closest = 1e-6 if zeros.dtype is torch.float64 else 1e-2 if last else 1e-4
    if error <= closest * effect:
        return True
    if last:
        return error <= negligible
    return False if min(error, effect) > negligible and error > 1e-2 * effect else None


def _alike(in_order: list[Tensor], moved: list[Tensor]) -> bool:
    """Whether two runs give the same but for rounding."""
    if [leaf.shape for leaf in moved] != [leaf.shape for leaf in in_order]:
        return False
    for before, after in zip(in_order, moved):
        if before.numel() and before.is_floating_point():
            smallest = torch.finfo(before.dtype).tiny
            error = float((before - after).abs().max() / before.abs().max().clamp_min(smallest))
            if np.isfinite(error) and error > 1e4 * torch.finfo(before.dtype).eps:
                return False
    return True


def _equal(left: Tensor, right: Tensor) -> bool:
    """Whether two outputs are the same but for rounding; values that are not finite differ from all others."""
    if not left.is_floating_point():
        return torch.equal(left, right)
    tolerance = 1e-9 if left.dtype is torch.float64 else 1e4 * torch.finfo(left.dtype).eps
    scale = float(right.abs().max()) if right.numel() else 0.0
    return torch.allclose(left, right, rtol=0, atol=tolerance * scale, equal_nan=True)


def _precision(dtype: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    return InDouble() if dtype is torch.float64 else contextlib.nullcontext()


def _converted(example: ExampleInput, dtype: torch.dtype | None) -> ExampleInput:
    return example.map(
        lambda tensor: tensor.detach().to(dtype if dtype and tensor.is_floating_point() else tensor.dtype, copy=True)
    )
