"""What a min-min step with m channel sets costs, in time and memory, over a step with one.

A step is a training step of the real `MinMinModule` around a Lightning module, and the backward pass of what it returns;
no optimizer, no loader. Each round draws random widths, the same for all sides, and runs every side once: a step with one
channel set, and for each m a step that keeps two graphs (fast) and one that keeps one (lean). Times are ratios to the
step with one channel set within a round, medians over the rounds. A forward is a third of a step if a backward is twice
a forward, so (m + 2) / 3 and (m + 3) / 3 are what counting says; the share that the forward really has here is in the
table, and with it what m forwards and one backward take, 1 + (m - 1) share.

A lean step runs its winner once more unless it was the last to run. "Lean" counts the steps in which it did; "lean,
on average" all of them, as the mean of all ratios.

Memory: the peak of what a step allocates, above what was allocated when it began, over that of one channel set: tensor
by tensor out of the profiler on a CPU, by the caching allocator's own count on CUDA; the largest ratio of three steps.
Resident: how far the memory of a fresh process grows above what it had before its first step (Linux), as the
operating system counts it, in three steps. Graphs: the largest number whose saved tensors were alive at once.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import statistics
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torchvision
from nni.nas.evaluator.pytorch import LightningModule
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from nni_cafenet import LocallyFree, WidthSpace
from nni_cafenet.supernet.lightning_module import MinMinModule
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from zoo.side_by_side import add_clock_options, machine, side_by_side

HEADERS = [
    'model',
    'm',
    'forward / step',
    'fast',
    '1 + (m - 1) share',
    '(m + 2) / 3',
    'lean',
    '(m + 3) / 3',
    'lean, on average',
    'graphs',
    'memory, fast',
    'memory, lean',
    'resident, fast',
    'resident, lean',
]
ONE = 'one set'
MODES = ('fast', 'lean')
MEMORY_STEPS = 3


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', default=['resnet18', 'mobilenet_v2'], metavar='NAME')
    parser.add_argument(
        '--sets', nargs='+', type=int, default=[2, 4, 8], metavar='M', help='channel sets (default: 2 4 8)'
    )
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=64, help='height and width of the pictures (default: 64)')
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--no-resident', action='store_true', help='start no processes of their own')
    parser.add_argument('--output', default='min_min', help='folder of the numbers (default: %(default)s)')
    parser.add_argument('--resident-of', nargs=3, help=argparse.SUPPRESS)  # what a fresh process is asked for
    add_clock_options(parser, rounds=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.resident_of:
        model, mode, number = options.resident_of
        print(json.dumps(growth(Steps(model, options), mode, int(number))))
        return
    results = [measure(name, options) for name in options.models]
    rows = [row for result in results for row in table_rows(result)]
    table = as_markdown(HEADERS, rows, align='l' + 'r' * (len(HEADERS) - 1))
    text = (
        f'{table}\n\n{machine(options.device)}; {options.batch} x 3 x {options.size} x {options.size}, '
        f'{options.rounds} rounds of random widths, LocallyFree(offset=1).'
    )
    write_json(Path(options.output) / 'min_min.json', results)
    write_text(Path(options.output) / 'min_min.md', text + '\n')
    print(text)


class Classifier(LightningModule):
    """A user's module; ``runs`` counts its steps, losing ones too."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = np.zeros((), int)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.runs += 1
        images, labels = batch
        loss = cross_entropy(self.model(images), labels)
        self.log('train_loss', loss)
        return loss


class Steps:
    """Min-min steps of one supernet, each the same whenever it is asked for by the same number."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        shape = (3, options.size, options.size)
        self.space = WidthSpace(
            getattr(torchvision.models, name), kwargs={'num_classes': options.classes}, example_input=(1, *shape)
        ).to(options.device)
        self.device = torch.device(options.device)
        self.batch = (
            torch.randn(options.batch, *shape, device=self.device),
            torch.randint(options.classes, (options.batch,), device=self.device),
        )
        self.seed = options.seed
        self.user = Classifier()
        self.user.set_model(self.space)
        self.trainer = pl.Trainer(
            accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        self._modules: dict[tuple[str, int], MinMinModule] = {}

    def forward(self, mode: str, sets: int, number: int) -> torch.Tensor:
        """Run the forwards of a step: the number decides widths and channel sets."""
        if (mode, sets) not in self._modules:
            module = MinMinModule(
                self.user, sharing=LocallyFree(offset=1), channel_sets_per_step=sets, seed=0, memory=mode
            )
            module.trainer = self.trainer
            module.log = self.user.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
            self._modules[mode, sets] = module.train()
        module = self._modules[mode, sets]
        module.rng = np.random.default_rng([self.seed, number])
        self.space.zero_grad(set_to_none=True)
        return module.training_step(self.batch, 0)

    def step(self, mode: str, sets: int, number: int) -> bool:
        """Run a step; return whether the winner was run again."""
        before = int(self.user.runs)
        self.forward(mode, sets, number).backward()
        return int(self.user.runs) - before > sets


def measure(name: str, options: argparse.Namespace) -> dict:
    """Measure one model."""
    steps = Steps(name, options)
    again: dict[str, list[bool]] = {}
    sides = {ONE: side(steps, 'fast', 1, again), 'forward': forward_side(steps)}
    for sets in options.sets:
        sides.update({f'{mode} {sets}': side(steps, mode, sets, again) for mode in MODES})
    bar = tqdm(desc=f'{name}: steps', total=len(sides) * (options.rounds + 1), unit='step')
    watched = {key: with_bar(call, bar) for key, call in sides.items()}
    seconds = side_by_side(watched, options.rounds, cpu_time=options.cpu_time, warm=1)
    bar.close()
    cells = [(mode, sets) for sets in options.sets for mode in MODES]
    memory, graphs, resident = {}, {}, {}
    resident_of = (
        (lambda mode, sets: None) if options.no_resident else (lambda mode, sets: fresh(name, mode, sets, options))
    )
    resident[ONE] = resident_of('fast', 1)
    one = [peak(steps, 'fast', 1, number) for number in range(MEMORY_STEPS)]
    for mode, sets in tqdm(cells, desc=f'{name}: memory', unit='side'):
        key = f'{mode} {sets}'
        memory[key] = [peak(steps, mode, sets, number) for number in range(MEMORY_STEPS)]
        graphs[key] = graphs_alive(steps, mode, sets)
        resident[key] = resident_of(mode, sets)
    return {
        'model': name,
        'sets': options.sets,
        'seconds': seconds,
        'again': {key: flags[-options.rounds :] for key, flags in again.items()},
        'memory': {ONE: one, **memory},
        'graphs': graphs,
        'resident': resident,
        'machine': machine(options.device),
    }


def side(steps: Steps, mode: str, sets: int, again: dict[str, list[bool]]) -> Callable[[], None]:
    numbers = itertools.count()
    found = again.setdefault(f'{mode} {sets}', [])
    return lambda: found.append(steps.step(mode, sets, next(numbers)))


def forward_side(steps: Steps) -> Callable[[], None]:
    numbers = itertools.count()
    return lambda: [steps.forward('fast', 1, next(numbers))].clear()


def with_bar(call: Callable[[], None], bar: tqdm) -> Callable[[], None]:
    def run() -> None:
        call()
        bar.update()

    return run


def peak(steps: Steps, mode: str, sets: int, number: int) -> int:
    """Return the most that a step has allocated at any time, in bytes."""
    steps.space.zero_grad(set_to_none=True)
    if steps.device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        steps.step(mode, sets, number)
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        steps.step(mode, sets, number)
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == '[memory]']
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


class Saved:
    """A tensor that a graph has saved; it is alive as long as the graph."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor.detach()  # an output would hold its own graph


def graphs_alive(steps: Steps, mode: str, sets: int) -> int:
    """Return how many graphs have saved tensors alive at once, at most, in a step."""
    state = SimpleNamespace(run=0, most=0)
    alive: weakref.WeakKeyDictionary[Saved, int] = weakref.WeakKeyDictionary()
    step = steps.user.training_step

    def pack(tensor: torch.Tensor) -> Saved:
        saved = Saved(tensor)
        alive[saved] = state.run
        return saved

    def watched(batch: Any, index: int) -> torch.Tensor:
        state.run += 1
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
            loss = step(batch, index)
        state.most = max(state.most, len(set(alive.values())))
        return loss

    steps.user.training_step = watched  # type: ignore[method-assign]
    try:
        steps.step(mode, sets, 0)
    finally:
        del steps.user.training_step
    return state.most


def fresh(name: str, mode: str, sets: int, options: argparse.Namespace) -> int | None:
    """Return by how many bytes a process of its own grows; None where the operating system does not say."""
    command = [sys.executable, '-W', 'ignore', __file__, '--resident-of', name, mode, str(sets)]
    for option in ('batch', 'size', 'classes', 'seed', 'threads', 'device'):
        command += [f'--{option}', str(getattr(options, option))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def growth(steps: Steps, mode: str, sets: int) -> int | None:
    """Return by how many bytes this process has grown after some steps."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what building the space has left goes back to the operating system
        Path('/proc/self/clear_refs').write_text('5')  # the peak so far is forgotten
        before = peak_resident()
        for number in range(MEMORY_STEPS):
            steps.step(mode, sets, number)
        return peak_resident() - before
    except (OSError, AttributeError):
        return None


def peak_resident() -> int:
    (line,) = [line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM')]
    return 1024 * int(line.split()[1])


def table_rows(result: dict) -> list[list[str]]:
    """Return the rows of a model."""
    seconds, memory, resident = result['seconds'], result['memory'], result['resident']

    def quotients(key: str) -> list[float]:
        return [mine / base for mine, base in zip(seconds[key], seconds[ONE])]

    share = statistics.median(quotients('forward'))
    rows = []
    for sets in result['sets']:
        fast, lean = f'fast {sets}', f'lean {sets}'
        reran = [each for each, again in zip(quotients(lean), result['again'][lean]) if again]
        peaks = [max(a / b for a, b in zip(memory[key], memory[ONE])) for key in (fast, lean)]
        grown = [None if resident[ONE] is None else resident[key] / resident[ONE] for key in (fast, lean)]
        numbers = [
            share,
            statistics.median(quotients(fast)),
            1 + (sets - 1) * share,
            (sets + 2) / 3,
            statistics.median(reran) if reran else None,
            (sets + 3) / 3,
            statistics.mean(quotients(lean)),
        ]
        graphs = f'{result["graphs"][fast]} / {result["graphs"][lean]}'
        rows.append([result['model'], str(sets), *map(shown, numbers), graphs, *map(shown, [*peaks, *grown])])
    return rows


def shown(number: float | None) -> str:
    return '-' if number is None else f'{number:.2f}'


if __name__ == '__main__':
    main()
