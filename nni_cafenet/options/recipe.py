"""The training recipe: one record for the supernet, the networks that are found, and pruning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import kinds
from .record import Record, option

__all__ = ['TrainingRecipe']

_RATES = {'adamw': 0.001, 'sgd': 0.05, 'rmsprop': 0.01}
_DECAYS = {'adamw': 0.01, 'sgd': 5e-4, 'rmsprop': 1e-5}
_MOMENTUM = 0.9
_OF_STEPS = {'step_epochs': 30.0, 'step_factor': 0.1}


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe(Record):
    """How networks are trained: the same way for the supernet, for the networks that are found, and for fine-tuning.

    A comparison of networks is worth something only where all of them have one recipe.

    Parameters
    ----------
    optimizer
        ``'adamw'``, ``'sgd'`` (with Nesterov momentum) or ``'rmsprop'`` (decay of squares 0.9; epsilon 0.0316 outside of
        the root, close to 0.001 inside of it as in timm's ``rmsproptf``).
    lr
        Highest learning rate, after the warm-up. None: 0.001 for adamw, 0.05 for sgd, 0.01 for rmsprop.
    momentum
        Of sgd and rmsprop. None: 0.9.
    weight_decay
        For weights of two or more dimensions; norms and biases have none. None: 0.01 for adamw, 5e-4 for sgd, 1e-5 for
        rmsprop.
    label_smoothing
        Probability that is spread over all classes in training, for the losses ``'cross_entropy'`` and ``'bce'``. Scores
        and validation are not smoothed.
    warmup_epochs
        Epochs in which the learning rate rises linearly, fractions allowed; at most half of the training. None: a tenth.
    schedule
        The learning rate after the warm-up: ``'cosine'`` to 0, ``'step'``, or ``'constant'``.
    step_epochs, step_factor
        With ``schedule='step'``: the rate is multiplied by the factor each time so many epochs have passed. None: 30, 0.1.
    clip
        Largest norm of the gradient. None: no clipping.
    accumulate
        Batches whose gradients are accumulated in an optimizer step.
    ema
        Decay of a moving average of the weights, which replaces them in validation and at the end. In the supernet the
        full weights are averaged, and widths are scored on the average. None: no average.
    mixup, cutmix
        Alpha of the mixing of each training batch; 0: none. With both, either is drawn for each batch.
    randaugment
        Magnitude of RandAugment, with two operations on each training picture, such as 9. None: off.
    random_erasing
        Probability that a part of a training picture is erased.
    crop_scale
        Smallest share of a training picture that its random crop takes, such as 0.08. None: the way of the data source.
    channels_last
        Keep weights and inputs in the channels-last memory format.
    compile
        Train the networks that are found by `torch.compile`. The supernet is not compiled: its shapes change every step.
    loggers
        Where metrics are logged besides ``curves.csv``, which is always written: ``'tensorboard'``, ``'wandb'``.

    Raises
    ------
    ValueError, TypeError
        If a value is out of range, or has no effect beside the others.

    Examples
    --------
    >>> TrainingRecipe(optimizer='sgd', lr=0.1, weight_decay=4e-5, label_smoothing=0.1, warmup_epochs=5).momentum is None
    True
    """

    optimizer: str = option(
        'adamw', kinds.choice('adamw', 'sgd', 'rmsprop'), 'adamw, sgd with Nesterov momentum, or rmsprop'
    )
    lr: float | None = option(
        None,
        kinds.number_above(0, 'RATE').or_none(),
        'highest learning rate, after the warm-up (default: 0.001 for adamw, 0.05 for sgd, 0.01 for rmsprop)',
    )
    momentum: float | None = option(
        None, kinds.number_between(0, 1).or_none(), 'momentum of sgd and rmsprop (default: 0.9)'
    )
    weight_decay: float | None = option(
        None,
        kinds.number_between(0, 1).or_none(),
        'weight decay; norms and biases have none (default: 0.01 for adamw, 0.0005 for sgd, 0.00001 for rmsprop)',
    )
    label_smoothing: float = option(
        0.0, kinds.number_between(0, 0.9), 'probability that is spread over all classes in training'
    )
    warmup_epochs: float | None = option(
        None,
        kinds.number_between(0, 10_000, metavar='EPOCHS').or_none(),
        'epochs in which the learning rate rises; at most half of the training (default: a tenth of it)',
    )
    schedule: str = option(
        'cosine',
        kinds.choice('cosine', 'step', 'constant'),
        'the learning rate after the warm-up: cosine, step, constant',
    )
    step_epochs: float | None = option(
        None, kinds.number_above(0, 'EPOCHS').or_none(), 'epochs between two steps of the schedule step (default: 30)'
    )
    step_factor: float | None = option(
        None,
        kinds.number_between(0, 1, open=True).or_none(),
        'factor of the learning rate in a step of the schedule step (default: 0.1)',
    )
    clip: float | None = option(
        None, kinds.number_above(0, 'NORM').or_none(), 'largest norm of the gradient (default: not clipped)'
    )
    accumulate: int = option(1, kinds.whole_number(1), 'batches whose gradients are accumulated in an optimizer step')
    ema: float | None = option(
        None,
        kinds.number_between(0, 1, open=True).or_none(),
        'decay of a moving average of the weights, such as 0.9999, which replaces them (default: no average)',
    )
    mixup: float = option(
        0.0, kinds.number_between(0, 100, metavar='ALPHA'), 'alpha of mixing training pictures by mixup; 0: off'
    )
    cutmix: float = option(
        0.0, kinds.number_between(0, 100, metavar='ALPHA'), 'alpha of mixing training pictures by cutmix; 0: off'
    )
    randaugment: int | None = option(
        None,
        kinds.whole_number(0, most=30).or_none(),
        'magnitude of RandAugment on training pictures, such as 9 (default: off)',
    )
    random_erasing: float = option(
        0.0, kinds.number_between(0, 1), 'probability that a part of a training picture is erased'
    )
    crop_scale: float | None = option(
        None,
        kinds.number_between(0.01, 1).or_none(),
        'smallest share of a training picture that a random crop takes, such as 0.08 (default: the way of the data source)',
    )
    channels_last: bool = option(False, kinds.flag(), 'keep weights and inputs in the channels-last memory format')
    compile: bool = option(False, kinds.flag(), 'train the networks that are found by torch.compile')
    loggers: Sequence[str] | None = option(
        None,
        kinds.choices('tensorboard', 'wandb').or_none(),
        'where metrics are logged besides curves.csv: tensorboard, wandb',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, problem in self.conflicts(vars(self)):
            raise ValueError(f'{name}={getattr(self, name)!r} {problem}.')

    @staticmethod
    def conflicts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the options that have no effect beside the others, with the reason."""
        if values['momentum'] is not None and values['optimizer'] == 'adamw':
            yield 'momentum', "has no effect with optimizer='adamw'; give sgd or rmsprop, or omit it"
        for name in _OF_STEPS:
            if values[name] is not None and values['schedule'] != 'step':
                yield name, f"has no effect with schedule={values['schedule']!r}; give schedule='step', or omit it"

    @property
    def peak_lr(self) -> float:
        """The highest learning rate."""
        return _RATES[self.optimizer] if self.lr is None else self.lr

    @property
    def decay(self) -> float:
        """The weight decay of weights of two or more dimensions."""
        return _DECAYS[self.optimizer] if self.weight_decay is None else self.weight_decay

    @property
    def inertia(self) -> float:
        """The momentum of sgd and rmsprop."""
        return _MOMENTUM if self.momentum is None else self.momentum

    @property
    def steps(self) -> tuple[float, float]:
        """Epochs between two steps of the schedule ``'step'``, and the factor of each."""
        epochs = _OF_STEPS['step_epochs'] if self.step_epochs is None else self.step_epochs
        return epochs, _OF_STEPS['step_factor'] if self.step_factor is None else self.step_factor

    @property
    def augments(self) -> list[str]:
        """The options in use that change single training pictures, so that their data source must support them."""
        used = {
            'randaugment': self.randaugment is not None,
            'random_erasing': self.random_erasing > 0,
            'crop_scale': self.crop_scale is not None,
        }
        return [name for name, is_used in used.items() if is_used]
