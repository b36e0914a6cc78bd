"""Options of training: of the supernet of a trained network, and of the networks that were found."""

from __future__ import annotations

from dataclasses import dataclass

from . import kinds
from .record import Record, option

__all__ = ['RecipeOptions']


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(Record):
    """How `prune` and the command line train; `prune` describes the options in full."""

    epochs: int = option(
        5,
        kinds.whole_number(0),
        'epochs of the supernet; 0: widths are searched on the given weights, as with --method knapsack',
    )
    finetune_epochs: int = option(
        10,
        kinds.whole_number(0),
        'epochs of the smaller networks: fine-tuning of trained weights, or training from scratch; 0: none',
    )
    loss: str | None = option(
        None,
        kinds.text('cross_entropy, bce, mse, model, or a function of your own').or_none(),
        'cross_entropy, bce, mse, model (which returns its losses in training), or package.module:function of (output, '
        'target) (default: cross_entropy where targets are classes)',
    )
    metric: str | None = option(
        None,
        kinds.text('a function of your own').or_none(),
        'package.module:function of (output, target), averaged over the validation data (default: what goes with the loss)',
    )
    importance: str = option(
        'group',
        kinds.choice('group', 'l1', 'l2', 'bn', 'taylor', 'activation', 'wanda', 'none'),
        'how channels of trained weights are ranked (see nni_cafenet.importance); none: they keep their order',
    )
    distill: bool = option(
        True, kinds.flag(), "smaller networks of trained weights also learn the original network's outputs"
    )
    finalists: int | None = option(
        None,
        kinds.whole_number(1).or_none(),
        'how many of the best widths are trained at the end; the best network is the result (default: 4; fewer, '
        'but 2 or more, if those after the first would cost more than the training of the supernet)',
    )
    device: str = option(
        'auto', kinds.text('auto, cpu, cuda, cuda:1 or mps'), 'where to train: auto, cpu, cuda, cuda:1'
    )
    devices: int | None = option(
        None,
        kinds.whole_number(1).or_none(),
        'devices on each machine, a process each, which share out every batch; on a CPU: processes (default: what '
        'torchrun or srun has started, else 1)',
    )
    nodes: int | None = option(
        None, kinds.whole_number(1).or_none(), 'machines (default: what torchrun or srun has started, else 1)'
    )
    strategy: str = option(
        'auto',
        kinds.ddp(),
        'how devices work together: ddp; ddp_find_unused_parameters_true for models that leave parameters unused; auto: '
        'ddp for several devices',
    )
    precision: str = option(
        '32-true',
        kinds.choice('32-true', '16-mixed', 'bf16-mixed'),
        'numbers to train in: 32-true, 16-mixed or bf16-mixed',
    )
