"""Prune a trained model under a budget."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn

from ..channel_importance import check_rule
from ..graph import ExampleInput, LayerPattern, Outputs
from ..options import BudgetSpecs, RecipeOptions, SupernetOptions, TrainingRecipe
from ..ranks import from_first, is_first, meet, named_lost_ranks, on_all
from ..search import Budget, Searcher
from ..space import Bins, Divisor, FlopsSensitiveBins, WidthMutator, WidthSpace
from ..stages import check_ranks, keep_settings, locked_folder
from ..strategy import CafeNet
from ..supernet import Fixed, Sharing, training_loader
from ..utils import check_instance, check_path, interruptible, read_record, seeded, suppress_training_logs
from .checks import (
    RECORD,
    check_given,
    check_optimizer,
    check_score,
    check_trainable,
    fingerprint,
    on_cpu,
    plain_copy,
    run_folder,
    task_of,
)
from .defaults import default_min_ratio
from .first_look import checked_epochs, is_knapsack, searcher_of
from .ordering import ordered
from .pruned import Pruned, PrunedFamily
from .results import Results
from .task_module import OptimizerFactory
from .trainer_options import TrainerOptions
from .training import Recipes, task_evaluator

__all__ = ['prune']


def prune(
    model: nn.Module,
    budget: Any,
    *,
    example_input: Any,
    outputs: Outputs = None,
    train: Any = None,
    validate: Any = None,
    evaluator: Lightning | None = None,
    loss: Any = None,
    metric: Any = None,
    metric_higher_is_better: bool | None = None,
    optimizer: OptimizerFactory | None = None,
    recipe: TrainingRecipe | None = None,
    epochs: int | None = None,
    finetune_epochs: int = 10,
    importance: Any = 'group',
    distill: bool = True,
    bins: Bins | None = None,
    include: Sequence[LayerPattern] | None = None,
    exclude: Sequence[LayerPattern] | None = None,
    min_ratio: Any = None,
    max_ratio: Any = 1.0,
    divisor: Divisor = 1,
    sharing: Sharing | None = None,
    channel_sets_per_step: int = 2,
    memory: str = 'auto',
    search: Searcher | str | None = None,
    score: str = 'loss',
    temperature: float | None = None,
    headroom: int | None = None,
    holdout: float = 0.1,
    score_data: Any = None,
    statistics_batches: int | None = None,
    finalists: int | None = None,
    baseline: bool = True,
    seed: int = 0,
    directory: str | Path | None = None,
    supernet_from: str | Path | None = None,
    device: str = 'auto',
    precision: str = '32-true',
    devices: int | None = None,
    nodes: int | None = None,
    strategy: str = 'auto',
) -> Pruned | PrunedFamily:
    """Prune a trained network to a smaller one within a budget.

    Its channels are sorted by importance, which does not change its outputs. A supernet is trained from its weights for a
    few epochs (CafeNet: locally free weight sharing, min-min), widths are searched on a held-out part of the training data,
    and the best ones are fine-tuned with the weights that they inherit.

    Parameters
    ----------
    model
        The trained network. It is not changed. Batch normalizations in evaluation mode inside a network in training mode
        are held: they keep their statistics in all trainings.
    budget
        Its largest cost (see `CafeNet`): ``'50%'`` of the MACs, ``'300M'``, ``{'macs': '50%', 'params': '5M'}``. A list of
        budgets gives a family of networks from one supernet.
    example_input
        Arguments of the model, of the size that MACs are counted for: a shape such as ``(1, 3, 224, 224)``, a tensor, a
        tuple or a dict. Dimension 0 is the batch.
    outputs
        The outputs that keep their sizes, by name (``['logits']``) or as a function of the output (see `WidthSpace`).
    train, validate
        Loaders of ``(inputs, target)``. Validation data is not used in training and search: only for the report, and to
        rank fine-tuned finalists if there are several.
    evaluator
        Instead of loaders and functions: an NNI Lightning evaluator, with any training recipe. Its numbers of epochs are
        replaced.
    loss
        ``(output, target) -> tensor``; or ``'cross_entropy'``, ``'bce'``, ``'mse'``; or ``'model'`` for a model that
        returns its losses in training, called with inputs and target. None: ``'model'`` for torchvision's detectors,
        ``'cross_entropy'`` where targets are classes.
    metric
        ``(output, target) -> number``, a torchmetrics metric, or a dict of several, the most important one first.
        Default: what goes with the loss. With ``evaluator``: the name of what its validation logs.
    metric_higher_is_better
        Direction of the metric. None: lower is better if its name contains 'loss' or 'error'.
    optimizer
        ``parameters -> optimizer``, instead of that of the recipe.
    recipe
        How supernet and networks are trained (see `TrainingRecipe`). Default: AdamW, learning rate 1e-3 with a warm-up and
        a cosine decay.
    epochs
        Epochs of the supernet; 0: widths are searched on the sorted weights. Default: 5, and 0 with a
        knapsack.
    finetune_epochs
        Epochs of fine-tuning; 0: none.
    importance
        How channels are ranked: ``'group'``, ``'l1'``, ``'l2'``, ``'bn'``, ``'taylor'``, ``'activation'``, ``'wanda'`` or a
        function (see `nni_cafenet.importance`); None: they keep their order.
    distill
        Supernet and pruned networks also learn the original network's outputs.
    bins, include, exclude, min_ratio, max_ratio, divisor
        The space (see `WidthMutator`). Default of ``min_ratio``: 0.6 times the square root of the smallest budget's share
        of the MACs, such as 0.3 for ``'25%'``, so that a short training is spent on widths within reach of the budget.
    sharing, channel_sets_per_step, memory, search, score, temperature, headroom, holdout, score_data, statistics_batches
        The search (see `CafeNet`). Default of ``search``: ``Evolution(initial='uniform')``.
        An evolution that starts from ``'uniform'`` starts from the widths of a `Knapsack` of the importance too, and the
        report shows these as a first look. ``search='knapsack'``, or a `Knapsack` of your own: its widths are the result,
        without a supernet unless ``epochs`` asks for one; without it the default of ``sharing`` is ``Fixed()``.
    finalists
        Number of the best widths that are fine-tuned; the best network by the metric is the result. None (default): 4;
        fewer, but 2 or more, if those after the first would cost more than the training of the supernet.
    baseline
        Fine-tune the uniformly scaled network of the budget as well. It is the result if no finalist is better.
    seed
        Seed of all random numbers.
    directory
        Folder of the run's state and results. A killed run resumes from it. Default: a new folder below ``cafenet`` in the
        working directory.
    supernet_from
        The directory of a finished run, for another budget or more candidates with the same supernet (see `CafeNet`).
    device, precision
        Device and precision of training, if there is no ``evaluator``: ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:1'``;
        ``'32-true'``, ``'16-mixed'``, ``'bf16-mixed'``.
    devices, nodes, strategy
        Devices on each machine, and machines: a process for each device, started by Lightning, torchrun or srun. Each
        batch of the loaders is shared out among all devices, so the learning rate need not change. ``'auto'`` and
        ``'ddp'`` are Lightning's DDP; ``'ddp_find_unused_parameters_true'`` is for models that leave parameters unused in
        a step. Default: what torchrun or srun has started, else one device.

    Returns
    -------
    A `Pruned`; a `PrunedFamily` for a list of budgets.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, the data do not fit the model, or the budget is out of reach; before any training.
    nni_cafenet.errors.ResumeError
        If the directory holds a run with other settings.
    nni_cafenet.errors.FolderError
        If the directory holds something else, or cannot be written to.
    """
    epochs = checked_epochs(epochs, search, importance)
    asked_for = RecipeOptions(epochs=epochs, finetune_epochs=finetune_epochs, finalists=finalists, distill=distill)
    finetune_epochs, distill = asked_for.finetune_epochs, asked_for.distill
    if recipe is not None:
        check_instance('recipe', recipe, TrainingRecipe)
    seed = SupernetOptions.check('seed', seed)
    budgets = BudgetSpecs.of(budget)
    check_rule(importance)
    trainer = TrainerOptions(str(device), precision, devices, nodes, strategy)
    original, held_norms = plain_copy(model)
    if epochs or finetune_epochs:
        check_trainable(original)
    example = ExampleInput.of(on_cpu(example_input), original)
    own = evaluator is None
    if evaluator is None:
        task = task_of(loss, metric, original, train, validate, example=example, recipe=recipe, seed=seed)
        check_score(score, task)
        check_optimizer(optimizer, original)
        with suppress_training_logs():
            evaluator = task_evaluator(task, train, validate, trainer=trainer, recipe=recipe, optimizer=optimizer)
        metric = task.ranking
    else:
        given = {'train': train, 'validate': validate, 'loss': loss, 'optimizer': optimizer, 'recipe': recipe}
        check_given(evaluator, {name for name, value in given.items() if value is not None}, trainer)
    meet(evaluator.trainer)
    folder = from_first(lambda: run_folder(directory))
    with (
        interruptible(folder),
        named_lost_ranks(),
        suppress_training_logs() if own else contextlib.nullcontext(),
        seeded(seed),
    ):
        options = {
            'include': include,
            'exclude': exclude,
            'max_ratio': max_ratio,
            'divisor': divisor,
            'outputs': outputs,
        }
        earlier = folder if supernet_from is None else check_path('supernet_from', supernet_from)
        ratio_there = from_first(lambda: _ratio_there(earlier)) if min_ratio is None else None
        ratio = min_ratio if ratio_there is None else ratio_there
        space, ratio = _space(original, example, budgets, ratio, {'bins': bins or FlopsSensitiveBins(), **options})
        space.held_norms = held_norms
        recipes = Recipes(evaluator, teacher=original if distill else None, bars=own, recipe=recipe)
        order, values = ordered(
            space, importance, recipes=recipes, loader=partial(training_loader, evaluator), seed=seed
        )
        run = CafeNet(
            budgets,
            sharing=Fixed() if sharing is None and not epochs and is_knapsack(search) else sharing,
            channel_sets_per_step=channel_sets_per_step,
            memory=memory,
            ema=None if recipe is None else recipe.ema,
            search=searcher_of(search, values),
            score=score,
            temperature=temperature,
            headroom=headroom,
            holdout=holdout,
            score_data=score_data,
            statistics_batches=statistics_batches,
            seed=seed,
            finalists=asked_for.finalists if finetune_epochs else 0,
            finalist_weights='inherited',
            finalist_evaluator=recipes.slim('Fine-tuning', finetune_epochs, ['train_loss', *filter(None, [metric])]),
            baseline=baseline,
            metric=metric,
            metric_higher_is_better=metric_higher_is_better,
            directory=folder,
            supernet_from=supernet_from,
        )
        supernet = recipes.supernet(epochs)
        run.initialize(RawFormatModelSpace(space.train(), supernet), SequentialExecutionEngine())
        asked = {
            'importance': importance if isinstance(importance, str) else repr(importance),
            'epochs': epochs,
            'distill': distill,
            'precision': str(evaluator.trainer.precision),
            'min_ratio': repr(ratio) if min_ratio is not None else ratio,
        }
        if held_norms:
            asked['held_norms'] = ' '.join(sorted(held_norms))
        settings = {'format': 1, 'model': fingerprint(original), **asked}
        check_ranks(settings)
        on_all(lambda: keep_settings(earlier / RECORD, settings, make=False))
        from_first(lambda: keep_settings(folder / RECORD, settings))
        asked['finetune_epochs'] = finetune_epochs
        run.run()
        results = Results(space, run, recipes, folder, original, order)
        return _written(results, {name: str(value) for name, value in asked.items()})


def _written(results: Results, settings: Mapping[str, str]) -> Pruned | PrunedFamily:
    """Measure and write the networks in the first process; the others take what it has measured."""
    mine: list[Pruned | PrunedFamily] = []

    def write() -> dict[str, Any]:
        with locked_folder(results.folder):
            mine.append(results.write(settings))
        return results.measurements()

    measured = from_first(write)
    if not is_first():
        results.known = measured
        mine.append(results.write(settings))
    return mine[0]


def _space(
    original: nn.Module, example: ExampleInput, budgets: BudgetSpecs, min_ratio: Any, options: Mapping[str, Any]
) -> tuple[WidthSpace, Any]:
    """Return the space of a copy of the model, and its smallest share of a width."""

    def made(ratio: Any) -> WidthSpace:
        return WidthMutator(min_ratio=ratio, **options).mutate(copy.deepcopy(original), example_input=example)

    if min_ratio is not None:
        return made(min_ratio), min_ratio
    ratio = default_min_ratio(budgets, original, example)
    space = made(ratio)
    try:
        for spec in budgets:
            Budget.check(spec, space)
    except ValueError:  # where much of the network is fixed, the rest must become smaller; or nothing is enough
        return made(0), 0
    return space, ratio


def _ratio_there(folder: Path) -> Any:
    """Return the smallest share of a width that an earlier pruning in the folder has found; None where there is none."""
    path = folder / RECORD
    found = read_record(path, remedy='give another directory').get('min_ratio') if path.exists() else None
    return found if isinstance(found, (int, float)) else None
