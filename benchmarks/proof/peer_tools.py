"""Other tools on the task of the proof: each proposes widths after as many steps of training as a supernet has."""

from __future__ import annotations

import copy
import functools
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from nni.nas.strategy import RandomOneShot
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn

from nni_cafenet import WidthSpace
from nni_cafenet.search.budget import Budget
from nni_cafenet.utils.rng import seeded
from nni_cafenet.utils.silence import suppress_torch_output, suppress_training_logs

from .arms import heldout_loader, random_widths, run_experiment
from .task import BATCH, Task, evaluate, fit

STATISTICS_BATCHES = 20
"""Training batches from which running statistics are re-estimated."""

RE_ESTIMATED = 're-estimated statistics'
PRUNING_STEPS = 200
"""Steps in which Torch-Pruning removes all channels but one in twenty; it is stopped at the budget."""

RATIOS = tuple(0.05 * i for i in range(1, 21))
"""ModelOpt's widths: the ratios of its FastNAS mode, of single channels."""


def nni_one_shot(task: Task, seed: int, folder: Path, count: int) -> dict[str, Any]:
    """Train a supernet by NNI's `RandomOneShot`; take the best of random widths of the budget by held-out loss.

    Returns
    -------
    The widths that are best with the running statistics that the supernet's training left, as NNI evaluates them;
    under ``best_at`` those that are best with statistics re-estimated for each width.
    """
    with suppress_training_logs(), seeded(seed):
        start = time.process_time()
        space = task.space()
        run_experiment(task, space, RandomOneShot(), folder, heldout_loader(task))
        trained = time.process_time() - start
        uniform = task.uniform_widths(space)
        field = [uniform, *random_widths(space, Budget.parse(space.macs(uniform), space), count - 1, seed)]
        batches = _statistics_batches(task)
        as_trained, re_estimated = [], []
        for widths in field:
            model = space.slim(widths).eval()
            as_trained.append(_heldout(task, model)[1])
            update_bn(batches, model)
            re_estimated.append(_heldout(task, model)[1])
    shutil.rmtree(folder)
    return {
        'widths': field[_smallest(as_trained)],
        'best_at': {RE_ESTIMATED: field[_smallest(re_estimated)]},
        'seconds': time.process_time() - start,
        'seconds_training': trained,
        'scored': count,
    }


def torch_pruning(task: Task, seed: int, importance: str) -> dict[str, Any]:
    """Train the full network, prune it globally to the budget by ``'magnitude'`` or ``'Taylor'``; take its widths."""
    import torch_pruning as tp

    model, trained = full_network(task, seed)
    start = time.process_time()
    space = task.space()
    limit = space.macs(task.uniform_widths(space))
    kinds = {'magnitude': tp.importance.GroupMagnitudeImportance, 'Taylor': tp.importance.GroupTaylorImportance}
    images, labels = task.pictures().train
    with seeded(seed):
        pruner = tp.pruner.BasePruner(
            model,
            torch.zeros(1, *images.shape[1:]),
            importance=kinds[importance](),
            global_pruning=True,
            pruning_ratio=0.95,
            max_pruning_ratio=0.95,
            iterative_steps=PRUNING_STEPS,
            ignored_layers=[module for module in model.modules() if isinstance(module, nn.Linear)],
        )
        for _ in range(PRUNING_STEPS):
            if importance == 'Taylor':
                batch = torch.randint(len(images), (500,))
                model.zero_grad()
                cross_entropy(model(images[batch]), labels[batch]).backward()
            pruner.step()
            if space.macs(read_widths(space, model)) <= limit:
                break
    return {'widths': read_widths(space, model), 'seconds': trained + time.process_time() - start}


def fast_nas(task: Task, seed: int) -> dict[str, Any]:
    """Train the full network, prune it to the budget by ModelOpt's FastNAS; take its widths."""
    import modelopt.torch.prune as mtp

    model, trained = full_network(task, seed)
    start = time.process_time()
    with suppress_torch_output(), seeded(seed):
        model, _ = mtp.prune(
            model,
            [('fastnas', _rules('fastnas'))],
            **_search_options(task),
        )
        widths = read_widths(task.space(), model)
    return {'widths': widths, 'seconds': trained + time.process_time() - start}


def auto_nas(task: Task, seed: int, count: int) -> dict[str, Any]:
    """Train a supernet of ModelOpt's AutoNAS, search it by its evolution; take the winner's widths."""
    import modelopt.torch.nas as mtn

    with suppress_torch_output(), seeded(seed):
        start = time.process_time()
        space = task.space()
        torch.manual_seed(seed)
        model = mtn.convert(space.slim(space.full_widths, weights=False), [('autonas', _rules('autonas'))])
        fit(task, model, task.supernet_steps)
        trained = time.process_time() - start
        options = _search_options(task)
        options['config'].update(num_iters=count, population_size=20, candidate_size=5)
        model, state = mtn.search(model, **options)
        widths = read_widths(space, model)
    return {
        'widths': widths,
        'seconds': time.process_time() - start,
        'seconds_training': trained,
        'scored': state['num_satisfied'],
    }


def full_network(task: Task, seed: int) -> tuple[nn.Module, float]:
    """Return the full network, trained for a supernet's steps, and the seconds of processor time that it took."""
    model, seconds = _full_network(task, seed)
    return copy.deepcopy(model), seconds


@functools.lru_cache(maxsize=1)
def _full_network(task: Task, seed: int) -> tuple[nn.Module, float]:
    start = time.process_time()
    space = task.space()
    torch.manual_seed(seed)
    model = fit(task, space.slim(space.full_widths, weights=False), task.supernet_steps)
    return model, time.process_time() - start


def read_widths(space: WidthSpace, model: nn.Module) -> dict[str, int]:
    """Return the widths of a model that a tool has made narrower."""
    return {label: int(model.get_submodule(label).out_channels) for label in space.labels}


def _rules(mode: str) -> Mapping[str, Any]:
    """Return a mode's own configuration with widths of single channels, and no choice of depth."""
    from modelopt.torch.nas.autonas import AutoNASConfig
    from modelopt.torch.prune.fastnas import FastNASConfig

    config = (AutoNASConfig if mode == 'autonas' else FastNASConfig)().model_dump()
    for rules in config.values():
        for rule in (rules or {}).values():
            for name in rule:
                if name.endswith('_divisor'):
                    rule[name] = 1
                elif name in ('channels_ratio', 'features_ratio'):
                    rule[name] = RATIOS
    return {**config, 'nn.Sequential': None}


def _search_options(task: Task) -> dict[str, Any]:
    """Return what both searches of ModelOpt are given."""
    space = task.space()
    images, _ = task.pictures().train
    return {
        'constraints': {'flops': 2 * space.macs(task.uniform_widths(space))},
        'dummy_input': torch.zeros(1, *images.shape[1:]),
        'config': {
            'data_loader': _statistics_batches(task),
            'collect_func': lambda batch: batch,
            'score_func': lambda model: _heldout(task, model)[0],
            'verbose': False,
        },
    }


def _statistics_batches(task: Task) -> list[Tensor]:
    images, _ = task.pictures().train
    return list(images[: STATISTICS_BATCHES * BATCH].split(BATCH))


def _heldout(task: Task, model: nn.Module) -> tuple[float, float]:
    """Return accuracy and loss on the held-out training pictures."""
    return evaluate(model.eval(), *task.pictures().heldout)


def _smallest(values: list[float]) -> int:
    return min(range(len(values)), key=values.__getitem__)
