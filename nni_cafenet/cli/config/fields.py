"""The fields of a configuration, with keys and defaults; `nni_cafenet.options` defines values and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...options import (
    DataOptions,
    FinalistOptions,
    Kind,
    RecipeOptions,
    Record,
    ScoreOptions,
    SearchOptions,
    SpaceOptions,
    SupernetOptions,
    TrainingRecipe,
    budgets,
    flag,
    text,
    whole_number,
)
from .kinds import mapping, shape, source

__all__ = ['FIELDS', 'REQUIRED', 'SECTIONS', 'Field']

REQUIRED: Any = object()
"""The default of fields that have none."""


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes
    ----------
    path
        Its key in a configuration file: ``'search.population'``, or ``'budget'`` outside of the sections.
    default
        Its default; `REQUIRED` if there is none.
    fresh
        The default of a search from fresh weights, if another one.
    option
        Its option on the command line; default: the last part of `path`, with dashes.
    changes_nothing
        Whether a run may be resumed with another value: it affects speed and location, not the result.
    """

    path: str
    kind: Kind
    default: Any
    help: str
    fresh: Any = None
    option: str = ''
    changes_nothing: bool = False

    @classmethod
    def of(cls, record: type[Record], path: str, name: str = '', **changes: Any) -> Field:
        """Return the field of an option; ``name``: its name in the record, if not the last part of `path`."""
        found = record.option(name or path.rpartition('.')[2])
        return cls(path, **{'kind': found.kind, 'default': found.default, 'help': found.help, **changes})

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        no = 'no-' if self.default is True else ''
        return self.option or f'--{no}' + self.path.rpartition('.')[2].replace('_', '-')

    @property
    def section(self) -> str:
        """The section of a configuration file, or ``''``."""
        return self.path.rpartition('.')[0]

    def default_for(self, fresh: bool) -> Any:
        """Return the default of a job."""
        return self.fresh if fresh and self.fresh is not None else self.default


SECTIONS = {
    'model': 'the network',
    'data': 'data for training and evaluation',
    'space': 'the allowed widths of channel groups',
    'training': 'how the supernet and the smaller networks are trained',
    'search': 'how widths are searched',
    '': 'the job',
}

FIELDS = (
    Field(
        'model.name',
        text('the name of a model', 'MODEL'),
        REQUIRED,
        'a model of torchvision (resnet50, torchvision.models:resnet50), or the code that makes it: '
        'package.module:factory, file.py:factory',
        option='--model',
    ),
    Field('model.args', mapping(), {}, 'arguments of the factory: width=8 depth=3', option='--model-args'),
    Field(
        'model.classes',
        whole_number(1).or_none(),
        None,
        'number of classes: num_classes of the factory (default: those of the data, if the factory takes num_classes)',
    ),
    Field(
        'model.weights',
        text('a file, or the name of weights of torchvision', 'FILE').or_none(),
        None,
        'trained weights: a state_dict saved by torch.save, or .safetensors; or the name of those that torchvision '
        'downloads, such as IMAGENET1K_V1',
    ),
    Field(
        'model.weights_key',
        text('a key of the file', 'KEY').or_none(),
        None,
        'the key of a checkpoint that has the weights, such as model or ema.module (default: the moving average of the '
        'weights, if there is one)',
    ),
    Field(
        'model.unpickle',
        flag(),
        False,
        'allow a whole model saved by torch.save, as model or as weights: runs code that the file names',
    ),
    Field(
        'model.input',
        shape().or_none(),
        None,
        'shape of the input, the batch first; MACs are counted for it (default: what torchvision trained the model on, or '
        'that of the data)',
    ),
    Field('data.source', source(), REQUIRED, 'training and validation data; see above', option='--data'),
    Field.of(DataOptions, 'data.batch_size'),
    Field.of(DataOptions, 'data.workers', changes_nothing=True),
    Field.of(DataOptions, 'data.validation'),
    Field.of(DataOptions, 'data.fraction', option='--data-fraction'),
    Field.of(SpaceOptions, 'space.bins'),
    Field.of(SpaceOptions, 'space.min_ratio', fresh=0.1),
    Field.of(SpaceOptions, 'space.divisor'),
    Field.of(SpaceOptions, 'space.include'),
    Field.of(SpaceOptions, 'space.exclude'),
    Field.of(SpaceOptions, 'space.outputs'),
    Field.of(RecipeOptions, 'training.epochs', fresh=30),
    Field.of(RecipeOptions, 'training.finetune_epochs', fresh=30),
    *(
        Field.of(TrainingRecipe, f'training.{each.name}', changes_nothing=each.name == 'loggers')
        for each in TrainingRecipe.options()
    ),
    Field.of(RecipeOptions, 'training.loss'),
    Field.of(RecipeOptions, 'training.metric'),
    Field.of(RecipeOptions, 'training.importance'),
    Field.of(RecipeOptions, 'training.distill'),
    Field.of(SearchOptions, 'search.method'),
    Field.of(SearchOptions, 'search.population'),
    Field.of(SearchOptions, 'search.generations'),
    Field.of(SearchOptions, 'search.candidates'),
    Field.of(SearchOptions, 'search.halving'),
    Field.of(SearchOptions, 'search.keep'),
    Field.of(SupernetOptions, 'search.channel_sets_per_step'),
    Field.of(SupernetOptions, 'search.memory', changes_nothing=True),
    Field.of(ScoreOptions, 'search.score'),
    Field.of(ScoreOptions, 'search.temperature'),
    Field.of(SearchOptions, 'search.headroom'),
    Field.of(ScoreOptions, 'search.holdout'),
    Field.of(ScoreOptions, 'search.statistics_batches'),
    Field.of(RecipeOptions, 'search.finalists'),
    Field.of(FinalistOptions, 'search.baseline'),
    Field.of(SearchOptions, 'search.full'),
    Field(
        'budget',
        budgets(),
        '50%',
        'budget of the network: 50% of the MACs, 300M; several for a family; macs=50% params=5M',
    ),
    Field(
        'output',
        text('a folder', 'DIR'),
        REQUIRED,
        'folder of the run; a run that was stopped is resumed from it',
        changes_nothing=True,
    ),
    Field.of(SupernetOptions, 'seed'),
    Field.of(RecipeOptions, 'device', changes_nothing=True),
    Field.of(RecipeOptions, 'devices', changes_nothing=True),
    Field.of(RecipeOptions, 'nodes', changes_nothing=True),
    Field.of(RecipeOptions, 'strategy', changes_nothing=True),
    Field.of(RecipeOptions, 'precision'),
    Field(
        'recipe',
        text('a named recipe').or_none(),
        None,
        'a named recipe (see nni-cafenet recipes), whose values are the defaults of all fields',
        changes_nothing=True,
    ),
)
"""All fields, in the order of a file."""
