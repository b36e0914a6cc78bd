"""Which way to prune a trained network keeps most of it? Ours beside uniform scaling, Torch-Pruning and NNI.

The method, in the order of the code:

1. Networks are trained with several seeds: two small ones on scikit-learn's digits (real images), one on generated
   patterns that are harder to tell apart.
2. Each is pruned to 25, 50 and 75 % of its MACs, as near below that as each tool gets:
   - ours: `nni_cafenet.prune`, one supernet for the three budgets, a few epochs of min-min training with distillation;
     "ours, T=1" is the same supernet, searched by its loss at temperature 1 instead of the default, 2;
   - ours, knapsack: `prune(search='knapsack')`, without a supernet; "sensitivity" weighs channels by what
     `nni_cafenet.sensitivity` measures, the loss of each group alone at a few widths;
   - uniform: every channel group scaled alike, the channels of smallest L1 norm leave, or those of which all weights in
     the group are smallest (our own slimming and orders);
   - Torch-Pruning: global group magnitude, its ratio tuned by bisection until the MACs fit;
   - NNI L1NormPruner: one ratio for all groups, tuned in the same way, with the dependencies that our groups tell (its own
     way of finding them needs tensorboard), and ModelSpeedup on a graph by torch.fx, without which it does not run.
3. All are fine-tuned by the same code, for the same number of steps: AdamW with a cosine, distillation from the network
   that was pruned. "longer" is trained for as many epochs more as our supernet was.
4. Accuracy on test images that nothing else has seen: means and standard deviations over seeds, how often ours is ahead.

Results are written as they come: a run that was killed resumes when the same command is given again.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from nni_cafenet import Evolution, Knapsack, PrunedFamily, WidthMutator, importance, order_channels, prune, sensitivity
from nni_cafenet.pruning.distillation import distilling
from nni_cafenet.pruning.objective import Task
from nni_cafenet.pruning.task_module import TaskModule
from nni_cafenet.stages.folder import keep_settings
from nni_cafenet.testing import SmallResNet, digits
from nni_cafenet.utils.files import append_line, read_jsonl, write_text
from nni_cafenet.utils.rng import seeded
from nni_cafenet.utils.silence import suppress_training_logs
from nni_cafenet.utils.tables import as_table
from nni_cafenet.utils.torch_files import save_torch

BUDGETS = (0.75, 0.5, 0.25)
OURS = {'ours': None, 'ours, T=1': 1.0}  # method -> temperature of its scores
KNAPSACKS = ('ours, knapsack', 'ours, knapsack, sensitivity')
BATCH = 64
QUIET = {
    'accelerator': 'cpu',
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'num_sanity_val_steps': 0,
}


# --- networks and data ----------------------------------------------------------------------------


class SmallMobileNet(nn.Module):
    """Inverted residuals with depthwise convolutions, for pictures of 8x8 pixels."""

    def __init__(self, num_classes: int = 10, width: int = 8) -> None:
        super().__init__()
        blocks = [_Inverted(width, width, 1), _Inverted(width, 2 * width, 2), _Inverted(2 * width, 2 * width, 1)]
        blocks += [_Inverted(2 * width, 4 * width, 2), _Inverted(4 * width, 4 * width, 1)]
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU6())
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.blocks(self.stem(x)).mean((2, 3)))
        return scores


class _Inverted(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        hidden = 4 * channels_in
        self.adds = stride == 1 and channels_in == channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def patterns(split: str, classes: int = 20, size: int = 8) -> TensorDataset:
    """Generated pictures (1, 8, 8): each class has three smooth patterns; shifted, faded, and under as much noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(classes, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode='bilinear', align_corners=True)
    smooth = smooth / smooth.std((2, 3), keepdim=True)
    count = 3000 if split == 'train' else 2000
    generator = torch.Generator().manual_seed(1 if split == 'train' else 2)
    labels = torch.randint(classes, (count,), generator=generator)
    kinds = torch.randint(3, (count,), generator=generator)
    shifts = torch.randint(-1, 2, (count, 2), generator=generator)
    pictures = torch.stack(
        [torch.roll(smooth[c, k], tuple(s), (0, 1)) for c, k, s in zip(labels, kinds, shifts.tolist())]
    )
    fading = 0.6 + 0.8 * torch.rand(count, 1, 1, generator=generator)
    noise = torch.randn(count, size, size, generator=generator)
    return TensorDataset((fading * pictures + noise)[:, None] / 1.5, labels)


@dataclass(frozen=True)
class Problem:
    """A network and its data."""

    name: str
    make: Callable[[], nn.Module]
    data: Callable[[str], TensorDataset]


PROBLEMS = (
    Problem('SmallResNet, digits', lambda: SmallResNet(10, width=8), digits),
    Problem('SmallMobileNet, digits', lambda: SmallMobileNet(10, width=8), digits),
    Problem('SmallResNet, patterns', lambda: SmallResNet(20, width=8), patterns),
)


def loaders(problem: Problem) -> tuple[Any, Any]:
    return (
        DataLoader(problem.data('train'), BATCH, shuffle=True),
        DataLoader(problem.data('test'), 500),
    )


# --- training, the same for all -------------------------------------------------------------------


def fit(
    model: nn.Module, problem: Problem, epochs: int, *, teacher: nn.Module | None, rate: float | None = None
) -> None:
    """Train a model: AdamW, or SGD with a learning rate; one cosine."""
    train, _ = loaders(problem)
    sgd = None
    if rate is not None:

        def sgd(parameters):  # type: ignore[no-untyped-def]
            return torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=True, weight_decay=5e-4)

    module = TaskModule(Task.of(None, None, model, next(iter(train))), sgd)
    if teacher is not None:
        module = distilling(module, teacher)
    module.set_model(model.train())
    pl.Trainer(max_epochs=epochs, **QUIET).fit(module, train)
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, problem: Problem) -> float:
    images, labels = problem.data('test').tensors
    return 100 * float((model.eval()(images).argmax(1) == labels).float().mean())


def macs_of(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 1, 8, 8))
    return int(counter.get_total_flops() // 2)


# --- ways to prune --------------------------------------------------------------------------------


def uniform(model: nn.Module, limit: int, rule: str = 'l1') -> nn.Module:
    space = WidthMutator(min_ratio=0).mutate(copy.deepcopy(model), example_input=(1, 1, 8, 8))
    order_channels(space, importance(space, rule))
    return space.slim(space.uniform_within(limit))


def uniform_group(model: nn.Module, limit: int) -> nn.Module:
    return uniform(model, limit, 'group')


def nni_l1(model: nn.Module, limit: int) -> nn.Module:
    from nni.compression.pruning import L1NormPruner
    from nni.compression.speedup import ModelSpeedup

    groups = WidthMutator(min_ratio=0).mutate(copy.deepcopy(model), example_input=(1, 1, 8, 8)).graph.groups

    def pruned(ratio: float) -> nn.Module:
        smaller = copy.deepcopy(model)
        config = [
            {'op_names': list(group.producers), 'sparse_ratio': ratio, 'dependency_group_id': group.label}
            for group in groups
        ]
        pruner = L1NormPruner(smaller, config)
        _, masks = pruner.compress()
        pruner.unwrap_model()
        graph = torch.fx.symbolic_trace(smaller)
        with contextlib.redirect_stdout(io.StringIO()):
            fast: nn.Module = ModelSpeedup(smaller, torch.zeros(2, 1, 8, 8), masks, graph_module=graph).speedup_model()
        return fast

    return bisected(pruned, macs_of, limit)


def torch_pruning(model: nn.Module, limit: int) -> nn.Module:
    import torch_pruning as tp

    example = torch.zeros(1, 1, 8, 8)

    def pruned(ratio: float) -> nn.Module:
        smaller = copy.deepcopy(model)
        pruner = tp.pruner.BasePruner(
            smaller,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            global_pruning=True,
            pruning_ratio=ratio,
            max_pruning_ratio=0.9,
            ignored_layers=[smaller.fc],
        )
        pruner.step()
        return smaller

    return bisected(pruned, macs_of, limit)


def bisected(make: Callable[[float], nn.Module], cost: Callable[[nn.Module], int], limit: int) -> nn.Module:
    """Return what the smallest ratio makes whose cost is within a limit."""
    low, high, best = 0.0, 0.95, None
    for _ in range(10):
        middle = (low + high) / 2
        made = make(middle)
        if cost(made) <= limit:
            high, best = middle, made
        else:
            low = middle
    if best is None:
        raise RuntimeError(f'No ratio up to {high} comes below {limit} MACs.')
    return best


@contextmanager
def timed() -> Iterator[list[float]]:
    seconds: list[float] = []
    start = time.process_time()
    yield seconds
    seconds.append(time.process_time() - start)


# --- the run --------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv)
    torch.set_num_threads(options.threads)
    folder: Path = options.output
    chosen = {name: getattr(options, name) for name in ('base_epochs', 'supernet_epochs', 'finetune_epochs', 'search')}
    keep_settings(folder / 'settings.json', chosen)
    path = folder / 'results.jsonl'
    done = {(r['problem'], r['seed'], r['method'], r['budget']): r for r in (read_jsonl(path) if path.exists() else [])}
    cells = [(p, s) for s in range(options.seeds) for p in PROBLEMS if options.only in p.name]
    with suppress_training_logs():
        for problem, seed in tqdm(cells, desc='Networks', unit='network'):
            for record in cell(problem, seed, options, folder, done):
                key = (record['problem'], record['seed'], record['method'], record['budget'])
                done[key] = record
                append_line(path, json.dumps(record))
    text = report(list(done.values()), options)
    write_text(folder / 'prune.md', text)
    print(text)


def cell(
    problem: Problem, seed: int, options: argparse.Namespace, folder: Path, done: dict[Any, Any]
) -> Iterator[dict[str, Any]]:
    """Yield what is missing of one trained network."""

    def missing(method: str, budget: float) -> bool:
        wanted = options.methods is None or method in {'full', *options.methods}
        return wanted and (problem.name, seed, method, budget) not in done

    def record(method: str, budget: float, **facts: Any) -> dict[str, Any]:
        return {'problem': problem.name, 'seed': seed, 'method': method, 'budget': budget, **facts}

    base = trained_network(problem, seed, options, folder)
    full = macs_of(base)
    if missing('full', 1.0):
        yield record('full', 1.0, macs=full, accuracy=accuracy(base, problem), seconds=0.0, before=None)
    epochs = options.finetune_epochs
    ways: list[tuple[str, Callable[[nn.Module, int], nn.Module], int]] = [
        ('uniform, L1', uniform, epochs),
        ('uniform, group', uniform_group, epochs),
        ('uniform, group, longer', uniform_group, epochs + options.supernet_epochs),
    ]
    if 'torch-pruning' in options.peers:
        ways.append(('Torch-Pruning', torch_pruning, epochs))
    if 'nni' in options.peers:
        ways.append(('NNI L1NormPruner', nni_l1, epochs))
    families = {
        **{method: partial(ours, temperature=temperature) for method, temperature in OURS.items()},
        **{method: partial(knapsack, measured='sensitivity' in method) for method in KNAPSACKS},
    }
    for method, make in families.items():
        if any(missing(method, budget) for budget in BUDGETS):
            with timed() as seconds, seeded(seed):
                members = make(base, problem, seed, options, folder / 'runs' / slug(method))
            for budget, found in zip(BUDGETS, members):
                yield record(
                    method,
                    budget,
                    **finetuned(found.model, base, problem, seed, options.finetune_epochs, seconds[0] / 3),
                )
    for method, way, epochs in ways:
        for budget in BUDGETS:
            if missing(method, budget):
                with timed() as seconds, seeded(seed):
                    model = way(base, int(budget * full))
                yield record(method, budget, **finetuned(model, base, problem, seed, epochs, seconds[0]))


def ours(
    base: nn.Module, problem: Problem, seed: int, options: argparse.Namespace, runs: Path, temperature: float | None
) -> PrunedFamily:
    """Prune to all budgets by one supernet; nothing is fine-tuned here."""
    search = {'epochs': options.supernet_epochs, 'search': Evolution(options.search, 10), 'temperature': temperature}
    return family(base, problem, seed, runs, **search)


def knapsack(
    base: nn.Module, problem: Problem, seed: int, options: argparse.Namespace, runs: Path, measured: bool
) -> PrunedFamily:
    """Prune to all budgets without a supernet; the channels are weighed by importance, or by ``measured`` losses."""
    if not measured:
        return family(base, problem, seed, runs, search='knapsack')
    space = WidthMutator().mutate(copy.deepcopy(base), example_input=(1, 1, 8, 8))
    found = sensitivity(space, loaders(problem)[0], seed=seed, progress=False)
    return family(base, problem, seed, runs, search=Knapsack(found.importance(), objective='sum'))


def family(base: nn.Module, problem: Problem, seed: int, runs: Path, **search: Any) -> PrunedFamily:
    train, test = loaders(problem)
    return prune(  # type: ignore[return-value]  # of a list of budgets
        base,
        [f'{100 * budget:g}%' for budget in BUDGETS],
        example_input=(1, 1, 8, 8),
        train=train,
        validate=test,
        finetune_epochs=0,
        holdout=0.2,
        statistics_batches=10,
        seed=seed,
        directory=runs / f'{slug(problem.name)}-{seed}',
        device='cpu',
        **search,
    )


def slug(name: str) -> str:
    return name.replace(', ', '-').replace('=', '')


def trained_network(problem: Problem, seed: int, options: argparse.Namespace, folder: Path) -> nn.Module:
    path = folder / 'networks' / f'{slug(problem.name)}-{seed}.pt'
    with seeded(seed):
        model = problem.make()
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            fit(model, problem, options.base_epochs, teacher=None, rate=0.1)
            save_torch(model.state_dict(), path)
    return model.eval()


def finetuned(
    model: nn.Module, base: nn.Module, problem: Problem, seed: int, epochs: int, seconds: float
) -> dict[str, Any]:
    before = accuracy(model, problem)
    with timed() as training, seeded(seed):
        fit(model, problem, epochs, teacher=base)
    return {
        'macs': macs_of(model),
        'accuracy': accuracy(model, problem),
        'before': before,
        'seconds': seconds + training[0],
    }


# --- report ---------------------------------------------------------------------------------------


def report(records: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f'{options.finetune_epochs} epochs of fine-tuning, {options.supernet_epochs} of the '
        f'supernet; {os.cpu_count()} cores, {options.threads} thread(s), Python {platform.python_version()}, '
        f'torch {torch.__version__}.',
        '',
        'Accuracy on test images in percent, mean ± standard deviation over seeds. MACs: mean, of the full network. '
        'Ahead: in how many seeds ours is better / equal / worse. Seconds: processor time of pruning and fine-tuning '
        '(ours: a third of what all three budgets took).',
    ]
    for problem in dict.fromkeys(r['problem'] for r in records):
        here = [r for r in records if r['problem'] == problem]
        full = [r['accuracy'] for r in here if r['method'] == 'full']
        macs = next(r['macs'] for r in here if r['method'] == 'full')
        lines += ['', f'### {problem}', '', f'{len(full)} seeds. Full network: {macs:,} MACs, {spread(full)} %.', '']
        rows = []
        for budget in sorted({r['budget'] for r in here} - {1.0}):
            at = [r for r in here if r['budget'] == budget]
            ours = {r['seed']: r['accuracy'] for r in at if r['method'] == 'ours'}
            for method in dict.fromkeys(r['method'] for r in at):
                mine = [r for r in at if r['method'] == method]
                rows.append(
                    [
                        f'{100 * budget:g} %',
                        method,
                        f'{100 * statistics.mean(r["macs"] for r in mine) / macs:.1f} %',
                        spread([r['before'] for r in mine]),
                        spread([r['accuracy'] for r in mine]),
                        '' if method == 'ours' else ahead(ours, mine),
                        f'{statistics.mean(r["seconds"] for r in mine):.0f}',
                    ]
                )
        headers = ['budget', 'method', 'MACs', 'before fine-tuning', 'after', 'ours ahead', 'seconds']
        lines.append(as_table(headers, rows))
    return '\n'.join(lines) + '\n'


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f'{statistics.mean(values):.2f} ± {deviation:.2f}'


def ahead(ours: dict[int, float], theirs: list[dict[str, Any]]) -> str:
    pairs = [(ours[r['seed']], r['accuracy']) for r in theirs if r['seed'] in ours]
    better, equal = sum(a > b for a, b in pairs), sum(a == b for a, b in pairs)
    return f'{better} / {equal} / {len(pairs) - better - equal}'


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        pass

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument('--output', type=Path, default=Path('prune-benchmark'), help='folder of the results')
    parser.add_argument('--seeds', type=int, default=5, help='networks of each kind')
    parser.add_argument('--base-epochs', type=int, default=15, help='epochs of the networks that are pruned')
    parser.add_argument('--supernet-epochs', type=int, default=5, help='epochs of our supernet')
    parser.add_argument('--finetune-epochs', type=int, default=10, help='epochs of fine-tuning, for all')
    parser.add_argument('--search', type=int, default=10, help='widths in a generation of our search, of 10')
    parser.add_argument('--only', default='', help='problems with this in their name')
    parser.add_argument('--methods', nargs='+', help='methods to measure (default: all)')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument(
        '--peers',
        nargs='*',
        default=['torch-pruning', 'nni'],
        help='tools beside ours',
    )
    return parser.parse_args(argv)


if __name__ == '__main__':
    main()
