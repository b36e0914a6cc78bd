"""The named recipes: an experiment each, as a YAML file of this folder, and what is published about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ...options import FORWARDS_PER_BACKWARD, CostLimit
from ..yaml_files import read_yaml

__all__ = ['NETWORKS', 'Published', 'Recipe', 'all_recipes', 'recipe_names']

NETWORKS = ('efficientnet_b0', 'mobilenet_v1', 'mobilenet_v2_cifar', 'vgg19_cifar')
"""The networks of this package that recipes name."""

_HOME = Path(__file__).parent
_MEAN_SHARE = 0.33
"""Mean MACs of uniform random widths as a share of the full network's: the mean of a product of two shares of 0.1 to 1."""


@dataclass(frozen=True)
class Published:
    """A published figure: the method, the MACs of its network as published, and the value of the metric."""

    method: str
    macs: str
    value: float
    note: str = ''

    def __str__(self) -> str:
        return f'{self.value:g}  {self.method}, {self.macs} MACs' + (f' ({self.note})' if self.note else '')


@dataclass(frozen=True)
class Recipe:
    """A named recipe.

    ``network``, ``data``, ``metric`` and ``source`` are words. ``macs`` are those of the full network, the supernet, and
    ``images`` the number of training images. ``form`` is the form of its data source. ``job`` holds the fields of a
    configuration, nested as in a file.
    """

    name: str
    network: str
    data: str
    form: str
    macs: int
    images: int
    metric: str
    source: str
    published: tuple[Published, ...]
    job: Mapping[str, Any]

    @classmethod
    def load(cls, name: str) -> Recipe:
        """Read a recipe by its name; a ConfigurationError names the nearest ones if there is none."""
        names = recipe_names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            near = near or [each for each in names if name.rpartition('/')[2].partition('-')[0] in each][:3]
            hint = f'did you mean {" or ".join(near)}? ' if near else ''
            raise ConfigurationError(f'recipe {name!r}: there is none of this name; {hint}all: nni-cafenet recipes')
        found = read_yaml(str(_HOME / f'{name}.yaml'))
        published = tuple(Published(**{**each, 'macs': str(each['macs'])}) for each in found.pop('published'))
        return cls(name=name, published=published, **found)

    @property
    def budget(self) -> str:
        """The budget of its job."""
        return str(self.job['budget'])

    @property
    def within(self) -> str:
        """The budget in words: ``'300M MACs'``, ``'50% of these MACs'``."""
        return f'{self.budget} {"of these " if self.budget.endswith("%") else ""}MACs'

    def cost(self) -> dict[str, int]:
        """Return the MACs of its stages, estimated: of the supernet, the search, and the trainings of networks.

        A training step costs three forwards; one of the supernet another forward for each further channel set. Random
        widths have a third of the full network's MACs. A width is scored with as many channel sets as a training step
        compares, each on the batches for its statistics and on the held-out images.
        """
        training, search = self.job['training'], self.job['search']
        budget = CostLimit.of('macs', self.budget, 'budget').within(self.macs)
        sets = int(search.get('channel_sets_per_step', 2))
        seen = self.images * (1 - search['holdout'])
        supernet = (sets + FORWARDS_PER_BACKWARD) * _MEAN_SHARE * self.macs * seen * training['epochs']
        widths = search['population'] * search['generations']
        scored = search['statistics_batches'] * self.job['data']['batch_size'] + search['holdout'] * self.images
        networks = (search['finalists'] + 1) * budget + (self.macs if search.get('full') else 0)
        return {
            'supernet': round(supernet),
            'search': round(widths * sets * scored * budget),
            'networks': round((1 + FORWARDS_PER_BACKWARD) * networks * self.images * training['finetune_epochs']),
        }


def recipe_names() -> list[str]:
    """Return the names of all recipes, such as ``'imagenet/mobilenet_v2-300M'``."""
    return sorted(path.relative_to(_HOME).with_suffix('').as_posix() for path in _HOME.glob('*/*.yaml'))


def all_recipes() -> list[Recipe]:
    """Return all recipes, by name."""
    return [Recipe.load(name) for name in recipe_names()]
