"""`prune` with the interface of NNI's pruners."""

from __future__ import annotations

import contextlib
import copy
import inspect
from typing import Any, NoReturn

import torch
from nni.compression import LightningEvaluator
from nni.nas.evaluator.pytorch import Lightning
from torch import nn

from ...analysis import bare_model, beyond_masks, warn_of
from ...options import BudgetSpecs
from ...report import RunReport
from ...slicing import Selection
from ...slim import write_back
from ...space import WidthSpace, refuse_choices
from ...utils import suppress_training_logs
from ..checks import on_cpu
from ..prune_model import prune
from ..pruned import Pruned
from ..trainer_options import TrainerOptions
from .config_list import ConfigList, LayerRules, exactly
from .evaluators import as_nas_evaluator
from .masks import Masks, apply_masks, masks_of
from .self_training import network_copy

__all__ = ['CafeNetPruner']

_OWN = ('model', 'budget', 'example_input', 'evaluator', 'include', 'exclude', 'min_ratio', 'max_ratio')
"""Arguments of `prune` that the pruner has itself or that ``config_list`` replaces."""


_OF_COMPRESSORS = ('_is_wrapped', '_module_wrappers', '_target_spaces', 'fused_compressors')
"""What NNI's compressors take over from one another."""


class CafeNetPruner:
    """A channel pruner under a budget, with the interface of NNI's pruners.

    NNI's pruners take a sparsity per layer. This pruner takes a budget for the whole network, searches the number of
    channels of each layer (see `nni_cafenet.prune`), and returns a model and masks as NNI does.

    Parameters
    ----------
    model
        The trained network. It is not changed.
    config_list
        The layers to prune and their bounds in NNI's format: ``[{'op_types': ['Conv2d'], 'exclude_op_names': ['stem'],
        'max_sparse_ratio': 0.8}]`` (see `LayerRules.read`). ``sparse_ratio`` is rejected, since the budget decides. None:
        all layers.
    evaluator
        ``TorchEvaluator`` or ``LightningEvaluator`` of ``nni.compression``, ``Lightning`` of
        ``nni.nas.evaluator.pytorch``, or a Lightning module (see `as_nas_evaluator`). None: training is defined by
        `train`, `validate` and optionally ``loss``, `metric` and ``optimizer``.
    budget
        The maximum cost: ``'50%'`` of the MACs (multiply-accumulates of one sample), ``'300M'``,
        ``{'macs': '50%', 'params': '5M'}``.
    example_input
        Example input of the model; default: the ``dummy_input`` of the evaluator.
    train, validate, device, precision
        See `prune`. With an evaluator, only what it lacks.
    devices, nodes, strategy
        See `prune`; without an evaluator only. The script runs once for each device, and `compress` returns the same model
        and masks in all of them. The trainer of a Lightning evaluator has devices of its own; the functions of a
        ``TorchEvaluator`` are those of one process.
    metric, metric_higher_is_better
        See `prune`; default: the evaluator's metric in NNI.
    options
        Other options of `prune`: ``epochs``, ``finetune_epochs``, ``importance``, ``bins``, ``search``, ``seed``,
        ``directory`` and so on.

    Attributes
    ----------
    bound_model
        A copy of the model. After `compress`, it has the weights of the pruned network and zeros where masks are zero, so
        its outputs equal those of the pruned network.
    fixed
        ``{label: reason}``, channel groups that keep their width because masking is not equivalent to removing channels,
        such as in layer normalization. `prune` does not have this limitation.
    pruned
        The `Pruned` result with widths, costs and history; None before `compress`.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid, before training; all problems of a ``config_list`` are listed.

    Notes
    -----
    It has the methods of the pruners in ``nni.compression.pruning`` but is not a subclass, and does not wrap modules:
    NNI's wrappers only support weights and biases of a few layer types.

    Examples
    --------
    >>> pruner = CafeNetPruner(model, [{'op_types': ['Conv2d']}], evaluator, budget='50%', example_input=(1, 3, 32, 32))
    >>> model, masks = pruner.compress()
    >>> slim = pruner.speedup()
    """

    def __init__(
        self,
        model: nn.Module,
        config_list: ConfigList | None,
        evaluator: Any = None,
        *,
        budget: Any,
        example_input: Any = None,
        train: Any = None,
        validate: Any = None,
        metric: Any = None,
        metric_higher_is_better: bool | None = None,
        device: str = 'auto',
        precision: str = '32-true',
        devices: int | None = None,
        nodes: int | None = None,
        strategy: str = 'auto',
        **options: Any,
    ) -> None:
        _check_options(options, evaluator, budget)
        if not isinstance(model, nn.Module):
            raise TypeError(f'model={model!r} must be a trained torch.nn.Module.')
        model = bare_model(model)
        refuse_choices(model)
        self.config_list = config_list
        self.evaluator = evaluator
        self.pruned: Pruned | None = None
        self._epochs: int | None = None
        self._silent = False
        self._device = next((tensor.device for tensor in model.parameters()), torch.device('cpu'))
        self._network = network_copy(model).cpu()
        rules = LayerRules.read(config_list, self._network)
        self._arguments: dict[str, Any] = {
            **options,
            'budget': budget,
            'example_input': on_cpu(_example(example_input, evaluator)),
            'metric': metric,
            'metric_higher_is_better': metric_higher_is_better,
        }
        data = {'train': train, 'validate': validate}
        whole = TrainerOptions(device, precision, devices, nodes, strategy)  # checked here, before any work
        if evaluator is None:
            trained = {'device': device, 'precision': precision, 'devices': devices, 'nodes': nodes}
            self._arguments.update(data, **trained, strategy=strategy)
        else:
            _check_one_process(evaluator, whole)
            trainer = TrainerOptions(device, precision)
            given = None if trainer == TrainerOptions() else trainer
            nas = as_nas_evaluator(evaluator, model, **data, trainer=given)
            self._arguments['evaluator'] = nas.evaluator
            self._silent = nas.silent
            if metric is None:
                self._arguments['metric'] = nas.metric
            if metric_higher_is_better is None and metric is None:
                self._arguments['metric_higher_is_better'] = nas.higher_is_better
        self._space, self.fixed = self._maskable_space(self._of_makers(rules), options)
        self._masks = masks_of(self._space, {})

    @property
    def bound_model(self) -> nn.Module:
        """A copy of the model; after `compress`, with the pruned weights."""
        return self._space.full_model

    def compress(self, max_steps: int | None = None, max_epochs: int | None = None) -> tuple[nn.Module, Masks]:
        """Train the supernet, search widths within the budget, and fine-tune the best.

        Parameters
        ----------
        max_steps
            Not supported; must be None.
        max_epochs
            Epochs of the supernet; default: the option ``epochs``.

        Returns
        -------
        model : torch.nn.Module
            `bound_model`, on the device of the given model.
        masks : dict of str to dict of str to tensor
            ``{module: {parameter: mask}}``, in the channel order of the given model. The masked model has the same outputs
            as the network that `speedup` returns.

        Raises
        ------
        ValueError
            If `max_steps` is given.
        """
        if max_steps is not None:
            raise ValueError(f'max_steps={max_steps}: not supported. Give max_epochs, and finetune_epochs=.')
        if self.pruned is None or (max_epochs is not None and max_epochs != self._epochs):
            arguments = self._arguments if max_epochs is None else {**self._arguments, 'epochs': max_epochs}
            with suppress_training_logs() if self._silent else contextlib.nullcontext():
                self.pruned = prune(self._network, **arguments)  # type: ignore[assignment]
            self._epochs = max_epochs
            self._take(self.pruned)  # type: ignore[arg-type]
        return self.bound_model, self.get_masks()

    def get_masks(self) -> Masks:
        """Return copies of the masks; all ones before `compress`."""
        return {owner: {name: mask.clone() for name, mask in own.items()} for owner, own in self._masks.items()}

    def speedup(self) -> nn.Module:
        """Return the smaller network: a plain module of the model's own classes, in evaluation mode.

        NNI's ``ModelSpeedup`` builds the same network from the masks if it can trace the model.
        """
        return copy.deepcopy(self._found('speedup').model).to(self._device)

    @property
    def report(self) -> RunReport:
        """Measurements of the networks of the run; prints as a table."""
        return self._found('report').report

    def wrap_model(self) -> None:
        """Do nothing, since no module is wrapped; for compatibility with NNI's pruners."""

    def unwrap_model(self) -> None:
        """Do nothing, since no module is wrapped; for compatibility with NNI's pruners."""

    @classmethod
    def from_compressor(cls, compressor: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise TypeError: wrappers of other compressors are not supported."""
        raise TypeError(
            f'CafeNetPruner does not support the wrappers of {type(compressor).__name__}. Call its unwrap_model(), then '
            'create CafeNetPruner(compressor.bound_model, ...).'
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name in _OF_COMPRESSORS:
            raise TypeError(
                "CafeNetPruner has no wrappers for NNI's other compressors to take over. Give them the pruned model, as in "
                'QATQuantizer(pruner.speedup(), config_list, evaluator). It needs no LinearPruner or AGPPruner: all widths '
                'are searched together.'
            )
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def _found(self, what: str) -> Pruned:
        if self.pruned is None:
            raise RuntimeError(f'{what}: nothing is pruned yet. Call compress() first.')
        return self.pruned

    def _of_makers(self, rules: LayerRules) -> LayerRules:
        """Let selected layers that only pass channels on, such as batch norms, stand for those that make them."""
        selected = [*(rules.include or ()), *rules.exclude]
        modules = dict(self._network.named_modules())
        weights = [getattr(modules.get(each), 'weight', None) for each in selected if isinstance(each, str)]
        if all(weight is None or weight.dim() > 1 for weight in weights):
            return rules
        example = self._arguments['example_input']
        return rules.with_makers(WidthSpace(copy.deepcopy(self._network), example_input=example, verify=False).graph)

    def _maskable_space(self, rules: LayerRules, options: dict[str, Any]) -> tuple[WidthSpace, dict[str, str]]:
        """Return the space of a copy without the groups that masks cannot express, and these as ``{label: reason}``.

        Also adds the limits of that space to the arguments for `prune`.
        """
        exclude = list(rules.exclude)
        fixed: dict[str, str] = {}
        while True:
            limits = {**vars(rules), 'exclude': exclude}
            chosen = {name: options[name] for name in ('bins', 'divisor') if name in options}
            example = self._arguments['example_input']
            try:
                space = WidthSpace(copy.deepcopy(self._network), example_input=example, **limits, **chosen)
            except ValueError as error:
                if not fixed:
                    raise
                raise ValueError(
                    f'model: masks cannot express the removal of channels of {", ".join(fixed)}, and no other group may '
                    'change. Use nni_cafenet.prune(), which does not need masks.'
                ) from error
            found = beyond_masks(space.full_model, space.graph, space.example_input)
            if not found:
                warn_of(fixed)
                self._arguments.update(limits)
                return space, fixed
            fixed.update(found)
            makers = [
                layer for group in space.graph.groups if group.label in found for layer in group.producers_or_members
            ]
            exclude += [exactly(layer, space.full_model) for layer in dict.fromkeys(makers)]

    def _take(self, pruned: Pruned) -> None:
        """Copy the pruned network into the bound model."""
        space = self._space
        space.full_model.cpu()
        write_back(pruned.model, space.full_model, Selection(space.graph, pruned.kept))
        masks = masks_of(space, pruned.kept)
        apply_masks(space.full_model, masks)
        space.full_model.to(self._device)
        self._masks = {
            owner: {name: mask.to(self._device) for name, mask in own.items()} for owner, own in masks.items()
        }


def _check_options(options: dict[str, Any], evaluator: Any, budget: Any) -> None:
    allowed = [name for name in inspect.signature(prune).parameters if name not in _OWN]
    instead = {'min_ratio': "'min' in config_list", 'max_ratio': "'max' in config_list"}
    instead.update(dict.fromkeys(('include', 'exclude'), 'op_names and exclude_op_names in config_list'))
    unknown = [
        name if name not in instead else f'{name} (use {instead[name]})' for name in options if name not in allowed
    ]
    if unknown:
        raise TypeError(
            f'CafeNetPruner has no options {", ".join(unknown)}. The options of prune() are {", ".join(allowed)}.'
        )
    beside = [name for name in ('loss', 'optimizer') if options.get(name) is not None]
    if evaluator is not None and beside:
        raise ValueError(f'{", ".join(beside)}: given together with evaluator, which has its own. Omit one of them.')
    if BudgetSpecs.of(budget).several:
        raise ValueError(
            f'budget={budget!r}: masks describe a single network. Use nni_cafenet.prune() for several budgets.'
        )


def _check_one_process(evaluator: Any, trainer: TrainerOptions) -> None:
    """Refuse an evaluator of one process on several devices, and devices beside those of a trainer."""
    asked = {name: getattr(trainer, name) for name in ('devices', 'nodes', 'strategy')}
    given = [name for name, value in asked.items() if value != getattr(TrainerOptions(), name)]
    named = ', '.join(f'{name}={asked[name]!r}' for name in given)
    if isinstance(evaluator, (Lightning, LightningEvaluator)):
        if given:
            raise ValueError(
                f'{named}: given together with {type(evaluator).__name__}, whose trainer has its own. Set them there: '
                "Trainer(devices=2, strategy='ddp')."
            )
    elif trainer.ranks > 1:
        raise ValueError(
            f'{named or f"devices={trainer.ranks} (as started)"}: {type(evaluator).__name__} trains and measures in one '
            'process. Give train, validate and loss in its place, or a Lightning evaluator whose Trainer has '
            "strategy='ddp'; or use one device."
        )


def _example(example_input: Any, evaluator: Any) -> Any:
    if example_input is None:
        example_input = getattr(evaluator, 'dummy_input', getattr(evaluator, '_dummy_input', None))
    if example_input is None:
        raise ValueError(
            'example_input=None: give an example input, such as its shape (1, 3, 224, 224), or an evaluator with a '
            'dummy_input.'
        )
    return example_input
