"""Prune a trained model under a budget."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from ..channels.inputs import ExampleInput
from ..channels.selecting import LayerPattern
from ..channels.structures import tensors_in
from ..channels.wrappers import bare_model
from ..errors import FolderError
from ..files import write_json
from ..quiet import quiet_training
from ..randomness import seeded
from ..run.finalists import Finalist, finalist_name
from ..run.folder import JOB_RECORD, RunFolder, keep_settings, new_run_path
from ..run.options import at_least
from ..run.reports import taken_reports
from ..search.evolution import Evolution
from ..search.history import Scored
from ..search.searcher import Searcher
from ..space.bins import Bins, FlopsSensitiveBins
from ..space.importance import importance as importance_of
from ..space.mutator import WidthMutator
from ..space.ordering import ChannelOrder, order_channels
from ..space.slim_files import save_slim
from ..space.width_space import WidthSpace
from ..strategy import CafeNet
from ..supernet.evaluator import check_evaluator, training_loader
from ..supernet.lightning import loss_of
from ..supernet.sharing import Sharing
from .original_order import in_original_order
from .pruned import NetworkFigures, Pruned, PrunedFamily, PruneReport
from .recipes import Recipes, TrainerOptions, task_evaluator
from .task import OptimizerFactory, Task

__all__ = ['prune']

_TAYLOR_BATCHES = 8
_RECORD = 'prune.json'


def prune(
    model: nn.Module,
    budget: Any,
    *,
    example_input: Any,
    train: Any = None,
    validate: Any = None,
    evaluator: Lightning | None = None,
    loss: Any = None,
    metric: Any = None,
    metric_higher_is_better: bool | None = None,
    optimizer: OptimizerFactory | None = None,
    epochs: int = 5,
    finetune_epochs: int = 10,
    importance: Any = 'group',
    distill: bool = True,
    bins: Bins | None = None,
    include: Sequence[LayerPattern] | None = None,
    exclude: Sequence[LayerPattern] | None = None,
    min_ratio: float = 0.1,
    divisor: int = 1,
    sharing: Sharing | None = None,
    patterns: int = 2,
    search: Searcher | None = None,
    score: str = 'loss',
    holdout: float = 0.1,
    score_data: Any = None,
    statistics_batches: int = 20,
    finalists: int = 1,
    baseline: bool = False,
    seed: int = 0,
    directory: str | Path | None = None,
    device: str = 'auto',
    precision: str = '32-true',
) -> Pruned | PrunedFamily:
    """Make a trained network really smaller, under a budget.

    Its channels are put in order of importance, which does not change what it computes. From its weights a supernet is
    trained for a few epochs (CafeNet: locally free weight sharing, min-min), widths are searched on a held-out part of
    the training data, and the best ones are fine-tuned with the weights that they inherit.

    Parameters
    ----------
    model
        The trained network. It stays as it is.
    budget
        What the smaller one may cost (see `CafeNet`): ``'50%'`` of the MACs, ``'300M'``, ``{'macs': '50%', 'params':
        '5M'}``. A list of budgets gives a family out of one supernet.
    example_input
        What the model is called with, of the size that MACs are counted for: a shape such as ``(1, 3, 224, 224)``, a
        tensor, a tuple or a dict. Dimension 0 is the batch.
    train, validate
        Loaders of ``(inputs, target)``. Validation data plays no part in training and search: it is for the report, and
        ranks fine-tuned finalists if there are several.
    evaluator
        Instead of loaders and functions: an NNI Lightning evaluator, with any training of its own. Its numbers of epochs
        are replaced.
    loss
        ``(output, target) -> tensor``; or ``'cross_entropy'``, ``'bce'``, ``'mse'``; or ``'model'`` for a model that
        returns its losses in training, called with inputs and target. None: ``'model'`` for torchvision's detectors,
        ``'cross_entropy'`` where targets are classes.
    metric
        ``(output, target) -> number``, a torchmetrics metric, or a dict of several, the most important one first.
        Default: what goes with the loss. With ``evaluator``: the name of what its validation logs.
    metric_higher_is_better
        Which way the metric is better; default: as its name says.
    optimizer
        ``parameters -> optimizer``; default: AdamW, learning rate 1e-3. The rate has a warm-up and a cosine.
    epochs
        Epochs of the supernet; 0: widths are searched on the ordered weights as they are.
    finetune_epochs
        Epochs of fine-tuning; 0: none.
    importance
        How channels are ranked: ``'group'``, ``'l1'``, ``'l2'``, ``'bn'``, ``'taylor'`` or a function (see
        `nni_cafenet.importance`); None: they keep their order.
    distill
        Supernet and pruned networks also learn the original network's outputs.
    bins, include, exclude, min_ratio, divisor
        The space (see `WidthMutator`).
    sharing, patterns, search, score, holdout, score_data, statistics_batches
        The search (see `CafeNet`). Default of ``search``: ``Evolution(population=40, generations=20)``.
    finalists
        How many of the best widths are fine-tuned; the best of them by the metric is the result.
    baseline
        Fine-tune the uniformly scaled network of the same MACs as well, for comparison.
    seed
        Seed of everything that is drawn.
    directory
        Where the run keeps its state and its results. A run that was killed goes on from there. Default: a new folder
        below ``cafenet`` in the working directory.
    device, precision
        Where and how precisely is trained, if there is no ``evaluator``: ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:1'``;
        ``'32-true'``, ``'16-mixed'``, ``'bf16-mixed'``.

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
    at_least('epochs', epochs, 0)
    at_least('finetune_epochs', finetune_epochs, 0)
    at_least('finalists', finalists, 1)
    trainer = TrainerOptions(device, precision)
    original = _plain_copy(model)
    example = ExampleInput.of(_on_cpu(example_input), original)
    if evaluator is None:
        batch = _first_batch(train, seed)
        _check_data(original, example, batch)
        if validate is None:
            raise ValueError('validate=None: give a loader of validation data. It plays no part in the search.')
        task = Task.of(loss, metric, original, batch)
        evaluator = task_evaluator(task, train, validate, optimizer=optimizer, trainer=trainer)
        metric_name = f'val_{next(iter(task.metrics), "loss")}'
        bars = True
    else:
        given = {'train': train, 'validate': validate, 'loss': loss, 'optimizer': optimizer}
        _check_evaluator(evaluator, {name for name, value in given.items() if value is not None}, trainer)
        metric_name, bars = metric, False
    folder = _folder(directory)
    with quiet_training() if bars else contextlib.nullcontext(), seeded(seed):
        mutator = WidthMutator(
            bins=bins or FlopsSensitiveBins(), include=include, exclude=exclude, min_ratio=min_ratio, divisor=divisor
        )
        space = mutator.mutate(copy.deepcopy(original), example_input=example_input)
        recipes = Recipes(evaluator, teacher=original if distill else None, bars=bars)
        strategy = CafeNet(
            budget,
            sharing=sharing,
            patterns=patterns,
            search=Evolution() if search is None else search,
            score=score,
            holdout=holdout,
            score_data=score_data,
            statistics_batches=statistics_batches,
            seed=seed,
            finalists=finalists if finetune_epochs else 0,
            finalist_weights='inherited',
            finalist_evaluator=recipes.training('Fine-tuning', finetune_epochs, _shown(metric_name)),
            baseline=baseline,
            metric=metric_name,
            metric_higher_is_better=metric_higher_is_better,
            directory=folder,
        )
        settings = {
            'format': 1,
            'model': _fingerprint(original),
            'epochs': epochs,
            'finetune_epochs': finetune_epochs,
            'importance': importance if isinstance(importance, str) or importance is None else repr(importance),
            'distill': distill,
            'precision': precision,
        }
        run = _Run(space, recipes, strategy, folder, original)
        run.order(importance, lambda: training_loader(evaluator), seed)
        run.do(recipes.training('Supernet', epochs, ['cafenet/loss']), settings)
        return run.result()


class _Run:
    """The stages of pruning, in their order."""

    def __init__(
        self, space: WidthSpace, recipes: Recipes, strategy: CafeNet, folder: Path, original: nn.Module
    ) -> None:
        self.space = space
        self.recipes = recipes
        self.strategy = strategy
        self.folder = folder
        self.original = original
        self.channel_order = ChannelOrder(
            {label: torch.arange(width) for label, width in space.full_widths.items()}, {}
        )

    def order(self, rule: Any, loader: Callable[[], Any], seed: int) -> None:
        """Put the channels in order of importance."""
        if rule is None:
            return
        self.space.eval()
        options: dict[str, Any] = {}
        if rule == 'taylor':
            options = {'batches': _some_batches(loader(), seed), 'loss': _step_loss(self.recipes)}
        self.channel_order = order_channels(self.space, importance_of(self.space, rule, **options))

    def do(self, evaluator: Lightning, settings: Mapping[str, Any]) -> None:
        """Train the supernet, search, fine-tune."""
        self.space.train()
        strategy = self.strategy
        engine = SequentialExecutionEngine()
        strategy.initialize(RawFormatModelSpace(self.space, evaluator), engine)
        keep_settings(self.folder / _RECORD, settings)
        strategy.run()
        if not strategy.finished:
            raise KeyboardInterrupt

    def result(self) -> Pruned | PrunedFamily:
        """Return the pruned networks, and write them down."""
        names = self.strategy.budget_names
        figures = [
            NetworkFigures('full', *self._cost(self.space.full_widths), before=self._measured('full', self.original))
        ]
        found = []
        for name, budget in zip(names, self.strategy.budgets):
            finalist, slim, finetuned = self._best(name, budget)
            title = 'pruned' if name is None else f'pruned to {name}'
            figures += self._baseline(name)
            figures.append(self._figures(title, finalist, finetuned))
            found.append((name, finalist.scored, slim))
        report = PruneReport(self._metric, tuple(figures))
        members = tuple(self._pruned(name, scored, slim, report) for name, scored, slim in found)
        return members[0] if names == [None] else PrunedFamily(members, report)

    def _best(self, name: str | None, budget: Any) -> tuple[Finalist, nn.Module, float | None]:
        """Return the best network of a budget, with the weights that it has in the end, and its metric."""
        strategy = self.strategy
        trained = [
            each
            for each in strategy.trained
            if not each.finalist.is_baseline and (name is None or each.finalist.name.partition('@')[2] == name)
        ]
        if not trained:
            scored = strategy.best_within(budget)
            if not scored:
                raise RuntimeError('No width could be scored: see history.csv.')
            return Finalist(finalist_name(1, name), scored[0]), strategy.slim(scored[0]), None
        best = max(trained, key=lambda each: strategy.metric.fitness(each.metric))
        slim = self.space.slim(best.finalist.scored.widths)
        path = RunFolder(self.folder).finalist(best.finalist.name) / 'slim.pt'
        slim.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
        return best.finalist, slim, best.metric

    def _baseline(self, name: str | None) -> list[NetworkFigures]:
        return [
            self._figures(each.finalist.title, each.finalist, each.metric)
            for each in self.strategy.trained
            if each.finalist.is_baseline and (name is None or each.finalist.name.partition('@')[2] == name)
        ]

    def _figures(self, title: str, finalist: Finalist, finetuned: float | None) -> NetworkFigures:
        inherited = self._measured(finalist.name, lambda: self.strategy.slim(finalist.scored))
        return NetworkFigures(title, *self._cost(finalist.scored.widths), inherited=inherited, finetuned=finetuned)

    def _cost(self, widths: Mapping[str, int]) -> tuple[dict[str, int], int, int]:
        return dict(widths), self.space.macs(widths), self.space.params(widths)

    def _measured(self, name: str, network: Any) -> float | None:
        """Return the metric of a network on the validation data; measured once in the life of a run."""
        path = self.folder / 'measured.json'
        known = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
        if name not in known:
            known[name] = self._validated(network if isinstance(network, nn.Module) else network())
            write_json(path, known)
        value: float | None = known[name]
        return value

    def _validated(self, network: nn.Module) -> float | None:
        evaluator = self.recipes.validation()
        evaluator.module.set_model(copy.deepcopy(network).eval())
        data = (
            {'datamodule': evaluator.datamodule} if evaluator.datamodule else {'dataloaders': evaluator.val_dataloaders}
        )
        with taken_reports() as reports:
            logged = evaluator.trainer.validate(evaluator.module, verbose=False, **data)
        values = {name: float(value) for each in logged for name, value in each.items()}
        return self.strategy.metric.value(reports.final, values)

    def _pruned(self, name: str | None, scored: Scored, slim: nn.Module, report: PruneReport) -> Pruned:
        sets = {label: torch.tensor(channels) for label, channels in scored.channel_sets.items()}
        model, kept = in_original_order(self.space, self.channel_order, slim, scored.widths, sets)
        folder = self.folder if name is None else self.folder / name
        save_slim(model, folder, scored.widths, macs=scored.macs, params=scored.params)
        return Pruned(
            model.eval(), dict(scored.widths), scored.macs, scored.params, kept, report, self.strategy.history, folder
        )

    @property
    def _metric(self) -> str:
        return self.strategy.metric.name or 'metric'


# --- checks ---------------------------------------------------------------------------------------


def _plain_copy(model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f'model={model!r} must be a trained torch.nn.Module.')
    model = bare_model(model)
    tensors = dict(model.named_parameters())
    meta = next((name for name, tensor in tensors.items() if tensor.is_meta), None)
    if meta is not None:
        raise ValueError(f'model: {meta} is on the meta device, without values. Load the trained weights first.')
    half = next((name for name, tensor in tensors.items() if tensor.dtype in (torch.float16, torch.bfloat16)), None)
    if half is not None:
        raise ValueError(
            f'model: {half} is {_word(tensors[half].dtype)}, too coarse to train in. Give model.float(); precision='
            "'16-mixed' or 'bf16-mixed' then computes in half precision."
        )
    bare: nn.Module = copy.deepcopy(model).cpu()
    return bare.eval()


def _on_cpu(example: Any) -> Any:
    if isinstance(example, Tensor):
        return example.detach().cpu()
    if isinstance(example, Mapping):
        return {key: _on_cpu(value) for key, value in example.items()}
    if isinstance(example, (tuple, list)) and not isinstance(example, torch.Size):
        return type(example)(_on_cpu(value) for value in example)
    return example


def _first_batch(train: Any, seed: int) -> Any:
    if train is None:
        raise ValueError('train=None: give a loader of training data, or an evaluator.')
    with seeded(seed):
        batch = next(iter(train), None)
    if batch is None:
        raise ValueError('train: the loader yields no batch. Is it empty, or drop_last set with too few samples?')
    return batch


def _check_data(model: nn.Module, example: ExampleInput, batch: Any) -> None:
    """Refuse data of another dtype than the model, or of another size than the example."""
    if not isinstance(batch, (tuple, list)) or not isinstance(batch[0], Tensor):
        return
    inputs = batch[0]
    dtypes = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    if inputs.is_floating_point() and dtypes and inputs.dtype not in dtypes:
        wanted = _word(next(iter(dtypes)))
        raise ValueError(
            f'train: the loader yields {_word(inputs.dtype)} inputs, but the model is {wanted}. Convert the data, or give '
            f'model.to(torch.{_word(inputs.dtype)}).'
        )
    shown = tensors_in((example.args, example.kwargs))
    if len(shown) == 1 and shown[0].shape[1:] != inputs.shape[1:]:
        raise ValueError(
            f'train: the loader yields inputs of shape {tuple(inputs.shape[1:])}, but example_input has '
            f'{tuple(shown[0].shape[1:])} (without the batch). MACs are counted for the example: give '
            f'example_input={(1, *inputs.shape[1:])}, or data of the other size.'
        )


def _check_evaluator(evaluator: Any, given: set[str], trainer: TrainerOptions) -> None:
    check_evaluator(evaluator)
    if given:
        raise ValueError(
            f'{", ".join(sorted(given))}: given beside evaluator, which has its own. Leave one of them out.'
        )
    if trainer != TrainerOptions():
        raise ValueError("device and precision are those of the evaluator's trainer: set them there.")


def _folder(directory: str | Path | None) -> Path:
    if directory is None:
        return new_run_path('.')
    folder = Path(directory)
    ours = (folder / _RECORD).exists() or (folder / JOB_RECORD).exists()
    if folder.is_dir() and not ours and any(folder.iterdir()):
        raise FolderError(
            f'directory={str(folder)!r} is not empty and holds no run that could be resumed. Give another one, or empty it.'
        )
    if folder.exists() and not folder.is_dir():
        raise FolderError(f'directory={str(folder)!r} is a file. Give a folder.')
    return folder


def _fingerprint(model: nn.Module) -> str:
    """Return a hash of a model's weights: a run is resumed with the network that it was started with."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _word(dtype: torch.dtype) -> str:
    return str(dtype).replace('torch.', '')


def _shown(metric: str | None) -> list[str]:
    return ['train_loss', *([metric] if metric else [])]


# --- importance by gradients ----------------------------------------------------------------------


def _some_batches(loader: Any, seed: int) -> list[Any]:
    with seeded(seed):
        return [batch for batch, _ in zip(loader, range(_TAYLOR_BATCHES))]


def _step_loss(recipes: Recipes) -> Callable[[nn.Module, Any], Tensor]:
    module = recipes.module()
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        module.set_model(model)
        return loss_of(module.training_step(batch, 0))

    return loss
