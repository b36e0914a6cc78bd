"""The arms of the proof: each proposes one network of a budget, and says what it took."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nni.nas.evaluator.pytorch import DataLoader, Lightning, Trainer
from nni.nas.experiment import NasExperiment
from nni.nas.experiment.config import NasExperimentConfig
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, WidthSpace
from nni_cafenet.search.budget import Budget
from nni_cafenet.search.filling import is_full
from nni_cafenet.search.sampling import sample_within
from nni_cafenet.search.searcher import Searcher
from nni_cafenet.supernet.sharing import Sharing
from nni_cafenet.utils.rng import seeded
from nni_cafenet.utils.silence import suppress_training_logs

from .task import BATCH, PictureModule, Task, epochs_of, evaluate, train_from_scratch

SILENT: dict[str, Any] = {
    'accelerator': 'cpu',
    'devices': 1,
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
}
FLOOR = 0.97
"""Least share of the budget that random widths use."""


def supernet_search(
    task: Task,
    seed: int,
    folder: Path,
    *,
    search: Searcher,
    temperatures: Sequence[float],
    sharing: Sharing | None = None,
    channel_sets: int = 2,
) -> dict[str, Any]:
    """Train a supernet and search on it, as a user does: what is not given here is the package's default.

    Returns
    -------
    The winner's widths, the seconds of processor time, under ``best_at`` the widths that `CafeNet.best_within` would return
    by the scores of other temperatures, and all ``scores``: widths, their score at each temperature, and the default one.
    """
    space = task.space()
    strategy, seconds = run_cafenet(
        task,
        space,
        seed,
        folder,
        budget=space.macs(task.uniform_widths(space)),
        search=search,
        sharing=sharing,
        channel_sets_per_step=channel_sets,
    )
    history = strategy.history
    budget = strategy.budgets[0]
    best = strategy.best_within(budget)[0]
    best_at = {
        f'{t:g}': min(history, key=lambda each: (not is_full(budget, each.widths), each.by_temperature[t])).widths
        for t in temperatures
    }
    return {
        'widths': best.widths,
        'macs': best.macs,
        'score': best.score,
        'temperature': best.temperature,
        'scored': len(history),
        'seconds': seconds,
        'best_at': best_at,
        'scores': [[list(s.widths.values()), *(s.by_temperature[t] for t in temperatures), s.score] for s in history],
    }


def run_cafenet(task: Task, space: WidthSpace, seed: int, folder: Path, **options: Any) -> tuple[CafeNet, float]:
    """Run `CafeNet` on a task; returns it and the seconds of processor time. The folder is left empty."""
    with suppress_training_logs(), seeded(seed):
        start = time.process_time()
        strategy = CafeNet(score_data=heldout_loader(task), seed=seed, directory=folder / 'run', **options)
        run_experiment(task, space, strategy, folder)
        if not strategy.finished:
            raise KeyboardInterrupt
        seconds = time.process_time() - start
    shutil.rmtree(folder)
    return strategy, seconds


def heldout_loader(task: Task) -> DataLoader:
    """Return a loader of the held-out training pictures."""
    return DataLoader(TensorDataset(*task.pictures().heldout), batch_size=500)


def run_experiment(
    task: Task, space: WidthSpace, strategy: OneShotStrategy, folder: Path, validation: DataLoader | None = None
) -> None:
    """Train a space's supernet by a strategy, with the recipe of the task, and whatever the strategy does then."""
    images = TensorDataset(*task.supernet_pictures())
    evaluator = Lightning(
        PictureModule(),
        Trainer(max_epochs=epochs_of(task.supernet_steps, len(images)), default_root_dir=str(folder), **SILENT),
        train_dataloaders=DataLoader(images, batch_size=BATCH, shuffle=True),
        val_dataloaders=validation,
    )
    config = NasExperimentConfig('sequential', 'raw')
    config.experiment_working_directory = str(folder / 'nni')
    experiment = NasExperiment(space, evaluator, strategy, config)
    try:
        experiment.run()
    finally:
        experiment.stop()


def random_widths(space: WidthSpace, budget: Budget, count: int, seed: int) -> list[dict[str, int]]:
    """Draw different widths just below a budget."""
    rows = sample_within(space, budget, count, np.random.default_rng([seed, 77]), floor=FLOOR)
    return [space.to_widths(row) for row in rows]


def short_trainings(
    task: Task,
    seed: int,
    count: int,
    rungs: Sequence[int],
    uniform: dict[str, int] | None = None,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Train random widths of the budget and the uniform network briefly; the best third trains anew and for longer.

    Parameters
    ----------
    count
        Networks at the start.
    rungs
        Steps of each round; a training starts from fresh weights and ends its own schedule.
    uniform, budget
        Default: the task's.
    """
    start = time.process_time()
    space = task.space()
    uniform = uniform or task.uniform_widths(space)
    budget = budget or Budget.parse(space.macs(uniform), space)
    images, labels = task.pictures().heldout
    field = [uniform, *random_widths(space, budget, count - 1, seed)]
    steps = 0
    for rung, length in enumerate(rungs):
        losses = []
        for number, widths in enumerate(field):
            model = train_from_scratch(task, space, widths, 10_000 * (seed + 1) + 100 * rung + number, length)
            losses.append(evaluate(model, images, labels)[1])
            steps += length
        kept = max(1, round(len(field) / 3)) if rung + 1 < len(rungs) else 1
        field = [field[i] for i in np.argsort(losses, kind='stable')[:kept]]
    seconds = time.process_time() - start
    return {'widths': field[0], 'macs': space.macs(field[0]), 'seconds': seconds, 'count': count, 'steps': steps}


def count_for(task: Task, seconds: float, rungs: Sequence[int], uniform: Mapping[str, int] | None = None) -> int:
    """Return with how many networks `short_trainings` takes about some seconds of processor time here."""
    space = task.space()
    uniform = uniform or task.uniform_widths(space)
    images, labels = task.pictures().heldout
    train_from_scratch(task, space, uniform, 0, 10)
    start = time.process_time()
    model = train_from_scratch(task, space, uniform, 0, 100)
    step = (time.process_time() - start) / 100
    start = time.process_time()
    evaluate(model, images, labels)
    look = time.process_time() - start
    share, cost = 1.0, 0.0
    for length in rungs:
        cost += share * (length * step + look)
        share /= 3
    return max(3, round(seconds / cost))
