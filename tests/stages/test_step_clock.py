from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from helpers import tiny_training

from nni_cafenet.stages.step_clock import StepClock, StepTime
from nni_cafenet.stages.time_left import TimeLeft, Work

SETS = 2


@dataclass
class Machine:
    """A clock that only the parts of a step move; the first step takes a second more."""

    forward: float
    backward: float
    prepare: float = 0.0
    rest: float = 0.0
    now: float = 0.0
    steps: int = field(default=0)


class Module(tiny_training.Sum):
    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def training_step(self, batch, batch_idx):
        machine = self.machine
        machine.now += SETS * (machine.prepare + machine.forward) + (machine.steps == 0)
        machine.steps += 1
        return super().training_step(batch, batch_idx)

    def backward(self, loss):
        loss.backward()
        self.machine.now += self.machine.backward

    def optimizer_step(self, *arguments):
        super().optimizer_step(*arguments)
        self.machine.now += self.machine.rest


@pytest.fixture
def fit(monkeypatch):
    def fit(machine, clock, batches, **options):
        monkeypatch.setattr('nni_cafenet.stages.step_clock.time.perf_counter', lambda: machine.now)
        tiny_training.fit(Module(machine), [clock], batches, **options)

    return fit


@pytest.mark.parametrize(('batches', 'first'), [(8, 0), (3, 0), (1, 1)])
def test_the_first_step_counts_only_if_it_is_the_only_one(fit, batches, first):
    found = []
    machine = Machine(forward=0.03, backward=0.06, rest=0.01)
    clock = StepClock(lambda time, left: found.append((time, left)), forwards=SETS)
    fit(machine, clock, batches, max_epochs=2)
    ((time, left),) = found
    assert clock.time is time
    assert time.whole == pytest.approx(0.13 + first)
    assert time.forward == pytest.approx(0.03)
    assert time.rest == pytest.approx(0.01)
    assert left == 1.0


@pytest.mark.parametrize(
    'machine',
    [
        Machine(forward=1.0, backward=2.0, rest=0.01),
        Machine(forward=0.004, backward=0.008, prepare=0.005, rest=0.003),  # of a small network, as measured
    ],
    ids=['large', 'small'],
)
def test_scores_and_finalists_are_not_charged_for_what_only_a_supernet_does(fit, tmp_path, capsys, machine):
    """Estimates against the same work done on the clock: a score is forwards alone, a finalist has one forward a step."""
    work = Work(steps=16, networks=1, forwards=SETS, width=10, widths=30, scored=0, finalist=50, share=1.0, finalists=1)
    left = TimeLeft(work, tmp_path / 'speed.json', show=True)
    clock = left.clock()
    fit(machine, clock, 8, max_epochs=2)
    took = {
        'supernet': 16 * (SETS * (machine.prepare + machine.forward) + machine.backward + machine.rest),
        'search': 30 * 10 * machine.forward,
        'finalists': 50 * (machine.forward + machine.backward + machine.rest),
    }
    time = clock.time
    expected = {
        'supernet': work.steps * time.whole,
        'search': work.widths * work.width * time.forward,
        'finalists': work.finalist * time.of_network(work.share),
    }
    assert expected == pytest.approx(took, rel=0.1)
    assert 'Expected: supernet' in capsys.readouterr().err


def test_a_step_without_a_backward_is_counted_in_forwards(fit):
    machine = Machine(forward=0.1, backward=0.0)
    clock = StepClock(forwards=SETS)
    fit(machine, clock, 8, max_epochs=1)
    assert clock.time == StepTime(pytest.approx(0.2), pytest.approx(0.05), 0.0)
