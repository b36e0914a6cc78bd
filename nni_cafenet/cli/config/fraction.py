"""A dry run of a whole job: a fraction of its data, epochs and widths."""

from __future__ import annotations

import math

from ...errors import ConfigurationError
from .configuration import Configuration

__all__ = ['with_fraction']

_HELD_OUT = 0.1
_FEWEST = {'population': 4, 'generations': 2, 'candidates': 4, 'statistics_batches': 1}
_LEFT_OPEN = {'population': 40, 'generations': 20, 'statistics_batches': 20}
"""What a job without these options has at most."""


def with_fraction(configuration: Configuration, fraction: float) -> Configuration:
    """Return a job with a fraction of the data, of the epochs of all trainings, and of the widths that are searched.

    Nothing is left out: there is at least an epoch, a batch, a few widths, and a tenth of the data held out. A
    ConfigurationError if the fraction is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise ConfigurationError(f'--fraction {fraction:g}: must be above 0 and at most 1, such as 0.01')
    changes: dict[str, object] = {'data__fraction': fraction * configuration['data.fraction']}
    changes['search__holdout'] = max(_HELD_OUT, configuration['search.holdout'])
    for name in ('epochs', 'finetune_epochs'):
        changes[f'training__{name}'] = math.ceil(fraction * configuration[f'training.{name}'])
    for name in ('warmup_epochs', 'step_epochs'):
        if configuration[f'training.{name}'] is not None:
            changes[f'training__{name}'] = fraction * configuration[f'training.{name}']
    for name, least in _FEWEST.items():
        asked = configuration[f'search.{name}']
        asked = _LEFT_OPEN[name] if asked is None else asked
        changes[f'search__{name}'] = min(asked, max(least, round(fraction * asked)))
    return configuration.with_values(**changes)
