"""Absolute paths of the files and folders that a configuration names."""

from __future__ import annotations

from pathlib import Path

from ...utils import absolute_path
from ..config import Configuration
from ..data import NAMED, absolute_source

__all__ = ['with_whole_paths']


def with_whole_paths(configuration: Configuration) -> Configuration:
    """Return a configuration with absolute paths of files and folders (links are kept); other names are kept."""
    weights = configuration['model.weights']
    metric, loss = configuration['training.metric'], configuration['training.loss']
    return configuration.with_values(
        model__name=_code(configuration['model.name']),
        model__weights=str(absolute_path(weights)) if weights is not None and Path(weights).exists() else weights,
        data__source=_source(configuration['data.source']),
        training__loss=None if loss is None else _code(loss),
        training__metric=None if metric is None else _code(metric),
        output=str(absolute_path(configuration['output'])),
    )


def _code(spec: str) -> str:
    place, colon, name = spec.rpartition(':')
    if colon and place.endswith('.py'):
        return f'{absolute_path(place)}:{name}'
    return str(absolute_path(spec)) if Path(spec).is_file() else spec


def _source(spec: str) -> str:
    kind, colon, _ = spec.partition(':')
    return absolute_source(spec) if colon and kind in NAMED else _code(spec)
