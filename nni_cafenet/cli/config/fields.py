"""The fields of a configuration: their places, defaults and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import kinds
from .kinds import Kind

__all__ = ['FIELDS', 'REQUIRED', 'SECTIONS', 'Field']

REQUIRED: Any = object()
"""The default of fields that have none."""


@dataclass(frozen=True)
class Field:
    """
    One field.

    Parameters
    ----------
    path
        Its place in a configuration file: ``'search.population'``, or ``'budget'`` for one that stands in no section.
    kind
        What its values are.
    default
        Its value where none is given; `REQUIRED`: one must be given.
    help
        What it means, for ``--help`` and the documentation.
    fresh
        The default of a search from fresh weights, where that is another one.
    option
        Its option on the command line; default: the last part of `path`, with dashes.
    metavar
        What stands for the value in ``--help``.
    changes_nothing
        Whether a run may go on with another value: it changes where and how fast, not what comes out.
    """

    path: str
    kind: Kind
    default: Any
    help: str
    fresh: Any = None
    option: str = ''
    metavar: str = 'N'
    changes_nothing: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return self.option or '--' + self.path.rpartition('.')[2].replace('_', '-')

    @property
    def section(self) -> str:
        """The section of a configuration file, or ``''``."""
        return self.path.rpartition('.')[0]

    def default_for(self, fresh: bool) -> Any:
        """Return the default of a job."""
        return self.fresh if fresh and self.fresh is not None else self.default


SECTIONS = {
    'model': 'the network',
    'data': 'what it is trained and measured on',
    'space': 'which widths its channel groups may have',
    'training': 'how the supernet and the smaller networks are trained',
    'search': 'how widths are searched',
    '': 'the job',
}

_share = kinds.number('a number between 0 and 1', lambda value: 0 < value < 1)

FIELDS = (
    Field(
        'model.name',
        kinds.name('the name of a model'),
        REQUIRED,
        'a model of torchvision (resnet50, torchvision.models:resnet50), or the code that makes it: '
        'package.module:factory, file.py:factory',
        option='--model',
        metavar='MODEL',
    ),
    Field(
        'model.args',
        kinds.mapping(),
        {},
        'arguments of the factory: width=8 depth=3',
        option='--model-args',
        metavar='NAME=VALUE',
    ),
    Field(
        'model.classes',
        kinds.whole(1).or_none(),
        None,
        'how many classes the model tells apart: num_classes of its factory (default: those of the data, if the factory '
        'takes num_classes)',
    ),
    Field(
        'model.weights',
        kinds.name('a file, or the name of weights of torchvision').or_none(),
        None,
        'trained weights: a state_dict that torch.save wrote, or .safetensors; or the name of those that torchvision '
        'downloads, such as IMAGENET1K_V1',
        metavar='FILE',
    ),
    Field(
        'model.unpickle', kinds.flag(), False, 'allow a model that torch.save wrote whole: runs the code that it names'
    ),
    Field(
        'model.input',
        kinds.shape().or_none(),
        None,
        'shape of the input, the batch first; MACs are counted for it (default: what torchvision trained the model on, or '
        'what the data have)',
    ),
    Field(
        'data.source',
        kinds.source(),
        REQUIRED,
        'training and validation data, see above',
        option='--data',
        metavar='SOURCE',
    ),
    Field('data.batch_size', kinds.whole(1), 64, 'samples a batch'),
    Field(
        'data.workers', kinds.whole(0), 0, 'processes that read the data; 0: none beside this one', changes_nothing=True
    ),
    Field(
        'data.validation',
        _share,
        0.2,
        'share of every class that is kept for validation where the data have no such part',
        metavar='SHARE',
    ),
    Field(
        'space.bins',
        kinds.bins(),
        '1:32',
        'SMALLEST:LARGEST for bins of about the same MACs, in channels, or how many bins a group has',
        metavar='RULE',
    ),
    Field(
        'space.min_ratio',
        kinds.number('a number from 0 to 1', lambda value: 0 <= value <= 1).or_none(),
        None,
        'smallest width of a group as a share of its full width; 0: one bin (default, for trained weights: 0.6 times the '
        "square root of the smallest budget's share of the MACs)",
        metavar='SHARE',
        fresh=0.1,
    ),
    Field('space.divisor', kinds.whole(1), 1, 'widths are multiples of it, in groups whose full width is one'),
    Field(
        'space.include',
        kinds.words('a list of layers').or_none(),
        None,
        "layers whose output widths may change: names, names of parts, shell patterns such as 'layer4.*' (default: all)",
        metavar='LAYER',
    ),
    Field(
        'space.exclude',
        kinds.words('a list of layers').or_none(),
        None,
        'layers whose output widths may not change',
        metavar='LAYER',
    ),
    Field(
        'training.epochs',
        kinds.whole(0),
        5,
        'epochs of the supernet; 0: widths are searched on the weights as they are',
        fresh=30,
    ),
    Field(
        'training.finetune_epochs',
        kinds.whole(0),
        10,
        'epochs of the smaller networks: fine-tuning of trained weights, or training from scratch; 0: none',
        fresh=30,
    ),
    Field(
        'training.optimizer',
        kinds.choice('adamw', 'sgd'),
        'adamw',
        'adamw, or sgd with Nesterov momentum 0.9',
        metavar='NAME',
    ),
    Field(
        'training.lr',
        kinds.number('a number above 0', lambda value: value > 0).or_none(),
        None,
        'highest learning rate; it has a warm-up and a cosine (default: 0.001 for adamw, 0.05 for sgd)',
        metavar='RATE',
    ),
    Field(
        'training.loss',
        kinds.name('cross_entropy, bce, mse, model, or a function of your own').or_none(),
        None,
        'cross_entropy, bce, mse, model (which returns its losses in training), or package.module:function of (output, '
        'target) (default: cross_entropy where targets are classes)',
        metavar='NAME',
    ),
    Field(
        'training.metric',
        kinds.name('a function of your own').or_none(),
        None,
        'package.module:function of (output, target), averaged over the validation data (default: what goes with the loss)',
        metavar='NAME',
    ),
    Field(
        'training.importance',
        kinds.choice('group', 'l1', 'l2', 'bn', 'taylor', 'none'),
        'group',
        'how the channels of trained weights are ranked (see nni_cafenet.importance); none: they keep their order',
        metavar='RULE',
    ),
    Field(
        'training.distill',
        kinds.flag(),
        True,
        "smaller networks of trained weights also learn the original network's outputs",
        option='--no-distill',
    ),
    Field(
        'search.method',
        kinds.choice('evolution', 'random', 'short-trainings'),
        'evolution',
        'on a supernet: evolution, or random (as many widths); without one: short-trainings of random widths',
        metavar='NAME',
    ),
    Field('search.population', kinds.whole(2), 40, 'widths a generation'),
    Field('search.generations', kinds.whole(1), 20, 'generations'),
    Field(
        'search.candidates',
        kinds.whole(2),
        24,
        'random widths that short-trainings begin with, the uniform one too',
    ),
    Field(
        'search.halving',
        kinds.ascending().or_none(),
        None,
        'epochs of the rungs of successive halving: of the candidates of short-trainings (default 2 4 8); otherwise of the '
        'finalists, before the best of them are trained in full (default: none)',
        metavar='EPOCHS',
    ),
    Field('search.keep', _share, 0.5, 'share of the networks that reach the next rung', metavar='SHARE'),
    Field(
        'search.channel_sets_per_step',
        kinds.whole(1),
        2,
        'channel sets that are compared in a training step of the supernet',
    ),
    Field(
        'search.memory',
        kinds.choice('auto', 'fast', 'lean'),
        'auto',
        'what such a step keeps: fast: two graphs; lean: one, and a forward more; auto: fast while there is memory for it',
        metavar='NAME',
        changes_nothing=True,
    ),
    Field(
        'search.score',
        kinds.name('a name'),
        'loss',
        'what widths are ranked by: loss, or a metric that validation logs, such as val_acc',
        metavar='NAME',
    ),
    Field(
        'search.temperature',
        kinds.number('a number above 0', lambda value: value > 0).or_none(),
        None,
        'what logits are divided by while widths are scored; default: 2 where the score is a cross-entropy, else 1',
    ),
    Field(
        'search.headroom',
        kinds.whole(0).or_none(),
        None,
        'random widths of equal cost that the uniform network is compared with; 0: none (default: a tenth of the search)',
    ),
    Field('search.holdout', _share, 0.1, 'share of the training data that is kept for scores', metavar='SHARE'),
    Field(
        'search.finalists',
        kinds.whole(1),
        4,
        'how many of the best widths are trained at the end; the best network is the result',
    ),
    Field(
        'search.baseline',
        kinds.flag(),
        True,
        'train the uniformly scaled network of the budget as well; it is the result where none is better',
        option='--no-baseline',
    ),
    Field(
        'budget',
        kinds.budget(),
        '50%',
        'what the network may cost: 50%% of the MACs, 300M; several for a family; macs=50%% params=5M',
        metavar='BUDGET',
    ),
    Field(
        'output',
        kinds.name('a folder'),
        REQUIRED,
        'folder of the run; a run that was stopped goes on in it',
        metavar='DIR',
        changes_nothing=True,
    ),
    Field('seed', kinds.whole(0), 0, 'seed of everything that is drawn'),
    Field(
        'device',
        kinds.name('auto, cpu, cuda, cuda:1 or mps'),
        'auto',
        'auto, cpu, cuda, cuda:1',
        metavar='NAME',
        changes_nothing=True,
    ),
    Field(
        'precision',
        kinds.choice('32-true', '16-mixed', 'bf16-mixed'),
        '32-true',
        '32-true, 16-mixed or bf16-mixed',
        metavar='NAME',
    ),
)
"""All fields, in the order in which a file shows them."""
