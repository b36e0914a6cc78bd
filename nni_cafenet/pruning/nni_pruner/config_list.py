"""Parsing of NNI's ``config_list``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nni.compression.base.config import select_modules_by_config
from schema import Schema, SchemaError
from torch import nn

from ...graph import ChannelGraph, LayerPattern

__all__ = ['ConfigList', 'LayerRules', 'exactly']

ConfigList = Sequence[Mapping[str, Any]]
"""``[{'op_types': ['Conv2d'], 'max_sparse_ratio': 0.8}, ...]``."""


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(item, str) for item in value)


def _are_patterns(value: Any) -> bool:
    return _are_texts(value) and all(re.compile(item) for item in value)  # schema treats an error as False


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _are_weights(value: Any) -> bool:
    return _are_texts(value) and 'weight' in value and {'weight', 'bias'}.issuperset(value)


def _are_types(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(each, (str, type)) for each in value)


_NAMES = Schema(_are_texts, error="must be a list of strings, such as ['conv1']")
_TYPES = Schema(_are_types, error="must be a list of class names or classes, such as ['Conv2d']")
_PATTERNS = Schema(_are_patterns, error="must be a list of regular expressions, such as ['layer1\\..*']")
_SHARE = Schema(_is_share, error='must be a number from 0 to 1')
_SELECT = ('op_types', 'op_names', 'op_names_re')
_KEYS = {
    **dict.fromkeys(('op_types', 'exclude_op_types'), _TYPES),
    **dict.fromkeys(('op_names', 'exclude_op_names'), _NAMES),
    **dict.fromkeys(('op_names_re', 'exclude_op_names_re'), _PATTERNS),
    'exclude': Schema(bool, error='must be True, to exclude the selected layers (exclude_op_names takes names)'),
    'target_names': Schema(
        _are_weights, error="must be ['weight'] or ['weight', 'bias']: channels are removed from the weights"
    ),
    **dict.fromkeys(('min', 'max', 'min_sparse_ratio', 'max_sparse_ratio'), _SHARE),
    'granularity': Schema(
        lambda value: value in ('out_channel', 'default'), error="must be 'out_channel': only whole channels are pruned"
    ),
    'dependency_group_id': Schema(lambda value: value is None or isinstance(value, (int, str)), error='must be a name'),
    'global_group_id': Schema(lambda value: value is None or isinstance(value, (int, str)), error='must be a name'),
    'internal_metric_block': Schema(
        lambda value: value is None or isinstance(value, (int, list, str)), error='must be a number of blocks'
    ),
}
_OF_TARGETS = ('max_sparse_ratio', 'min_sparse_ratio', 'granularity', 'dependency_group_id', 'internal_metric_block')
"""Keys that `target_settings` may hold for a weight or a bias."""
_REFUSED = {
    'sparse_ratio': 'the budget decides; max_sparse_ratio or min limits the pruning of a layer',
    'sparse_threshold': 'the budget decides; max_sparse_ratio or min limits the pruning of a layer',
    'sparsity': 'the budget decides; max_sparse_ratio or min limits the pruning of a layer',
    'sparsity_per_layer': 'the budget decides; max_sparse_ratio or min limits the pruning of a layer',
    'total_sparsity': 'the budget decides; max_sparse_ratio or min limits the pruning of a layer',
    'max_sparsity_per_layer': 'NNI 3 calls it max_sparse_ratio',
    'op_partial_names': 'NNI 3 calls it op_names_re',
}


@dataclass
class LayerRules:
    """A ``config_list`` as options of a `WidthSpace`: layers that may (None: all) or may not be pruned, and ratios."""

    include: list[LayerPattern] | None = None
    exclude: list[LayerPattern] = field(default_factory=list)
    min_ratio: dict[LayerPattern, float] = field(default_factory=dict)
    max_ratio: dict[LayerPattern, float] = field(default_factory=dict)

    def with_makers(self, graph: ChannelGraph) -> LayerRules:
        """Let normalization layers and others that keep their channels stand for the layers that make these channels."""

        def makers(pattern: LayerPattern) -> list[LayerPattern]:
            found = [group.producers for group in graph.groups if pattern in group.others and group.producers]
            return [pattern] if not found else list(dict.fromkeys(itertools.chain(*found)))

        def spread(ratios: Mapping[LayerPattern, float], strictest: Callable[..., float]) -> dict[LayerPattern, float]:
            bounds: dict[LayerPattern, float] = {}
            for pattern, ratio in ratios.items():
                for maker in makers(pattern):
                    bounds[maker] = strictest(ratio, bounds.get(maker, ratio))
            return bounds

        include = None if self.include is None else list(dict.fromkeys(itertools.chain(*map(makers, self.include))))
        exclude = list(dict.fromkeys(itertools.chain(*map(makers, self.exclude))))
        return LayerRules(include, exclude, spread(self.min_ratio, max), spread(self.max_ratio, min))

    @classmethod
    def read(cls, config_list: ConfigList | None, model: nn.Module) -> LayerRules:
        """Parse and check a ``config_list``, one dict per selection of layers; None: all layers may be pruned.

        - ``op_types``, ``op_names``, ``op_names_re`` select layers; ``exclude_op_types``, ``exclude_op_names`` and
          ``exclude_op_names_re`` deselect them, as in NNI. Names and regular expressions (matched from the start)
          refer to ``model.named_modules()``, types to class names.
        - ``exclude=True``: the selected layers keep their width, regardless of other dicts.
        - ``max_sparse_ratio``, ``min_sparse_ratio``: the maximum and minimum fraction of channels to remove from a
          layer; or ``min``, ``max``: the minimum and maximum fraction to keep. The strictest bound counts.
        - ``target_names``: accepted as ``['weight']`` or ``['weight', 'bias']``; ``target_settings`` with bounds of these.
        - ``granularity='out_channel'``, ``dependency_group_id`` and ``internal_metric_block``, which NNI's
          ``auto_set_denpendency_group_ids`` writes, and one ``global_group_id``: accepted, since they say what is done
          anyway.

        Raises ValueError with a list of all problems: keys, values, unknown names, selections without parameters,
        contradictory bounds; TypeError for anything but a list of dicts.
        """
        if config_list is None:
            return cls()
        if isinstance(config_list, (str, Mapping)) or not all(isinstance(each, Mapping) for each in config_list):
            raise TypeError(f'config_list={config_list!r} must be a list of dicts, such as {_EXAMPLE}.')
        configs, problems = [dict(config) for config in config_list], list[str]()
        for index, config in enumerate(configs):
            problems += [f'[{index}]{problem}' for problem in _lift_targets(config)]
        ids = {each['global_group_id'] for each in configs if each.get('global_group_id') is not None}
        if len(ids) > 1:
            problems.append(f"['global_group_id']: {sorted(map(str, ids))} are several; all layers share one budget")
        problems += [] if configs else [f'it is empty: write {_EXAMPLE}, or None for all layers']
        for index, config in enumerate(configs):
            problems += [f'[{index}]{problem}' for problem in _problems(config, model)]
        if problems:
            raise ValueError('config_list:\n' + '\n'.join(problems))
        rules = cls()
        for config in configs:
            rules._add(config, model)
        return rules

    def _add(self, config: Mapping[str, Any], model: nn.Module) -> None:
        layers = _selected(config, model)
        if config.get('exclude'):
            self.exclude += [exactly(layer, model) for layer in layers]
            return
        self.include = self.include or []
        least, most = _bounds(config)
        for layer in layers:
            pattern = exactly(layer, model)
            if pattern not in self.include:
                self.include.append(pattern)
            if least is not None:
                self.min_ratio[pattern] = max(least, self.min_ratio.get(pattern, 0.0))
            if most is not None:
                self.max_ratio[pattern] = min(most, self.max_ratio.get(pattern, 1.0))


_EXAMPLE = "[{'op_types': ['Conv2d'], 'max_sparse_ratio': 0.8}]"


def _problems(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    """List all problems of one dict as ``key: problem``."""
    problems = [f'[{key!r}]: {why}' for key, why in _REFUSED.items() if key in config]
    unknown = [key for key in config if key not in _KEYS and key not in _REFUSED]
    if unknown:
        problems.append(f': unknown keys {unknown}; allowed are {sorted(_KEYS)}')
    for key, schema in _KEYS.items():
        if key in config:
            try:
                schema.validate(config[key])
            except SchemaError as error:
                problems.append(f'[{key!r}]={config[key]!r} {error.code}')
    if problems:
        return problems
    return _problems_with_model(config, model) or _problems_of_bounds(config)


def _problems_with_model(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    if not any(key in config for key in _SELECT):
        return [f': no layer is selected; give one of {list(_SELECT)}']
    names = dict(model.named_modules(remove_duplicate=False))
    missing = [name for key in ('op_names', 'exclude_op_names') for name in config.get(key, ()) if name not in names]
    if missing:
        return [f': the model has no layers {missing}; names are those of model.named_modules()']
    layers = _selected(config, model)
    if not layers:
        chosen = {key: config[key] for key in _KEYS if 'op_' in key and key in config}
        return [
            f': {chosen} selects no layer with its own parameters; select the layers inside a module with '
            "op_names_re, such as 'layer1\\\\.'"
        ]
    return []


def _problems_of_bounds(config: Mapping[str, Any]) -> list[str]:
    problems = []
    for kept, lost in (('min', 'max_sparse_ratio'), ('max', 'min_sparse_ratio')):
        if kept in config and lost in config:
            problems.append(f': {kept!r} and {lost!r} set the same bound; give one of them ({kept} = 1 - {lost})')
    least, most = _bounds(config)
    if most == 0:
        problems.append(': no channels would be left; exclude the layers, or keep more')
    if least is not None and most is not None and least > most:
        problems.append(f': the minimum ratio to keep, {least:g}, exceeds the maximum, {most:g}; change one of them')
    return problems


def _bounds(config: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the minimum and maximum ratio to keep; None if not given."""
    least = config.get('min', 1 - config['max_sparse_ratio'] if 'max_sparse_ratio' in config else None)
    most = config.get('max', 1 - config['min_sparse_ratio'] if 'min_sparse_ratio' in config else None)
    return least, most


def _lift_targets(config: dict[str, Any]) -> list[str]:
    """Move the bounds in ``target_settings`` beside ``op_types``; return problems."""
    targets = config.pop('target_settings', {})
    if not isinstance(targets, Mapping) or not all(isinstance(each, Mapping) for each in targets.values()):
        return [f"['target_settings']={targets!r} must be a dict such as {{'weight': {{'max_sparse_ratio': 0.8}}}}"]
    problems = []
    for target, settings in targets.items():
        where = f"['target_settings'][{target!r}]"
        if target not in ('weight', 'bias'):
            problems.append(f"{where}: channels are removed from 'weight' and 'bias'")
        for key, value in settings.items():
            if key in _REFUSED:
                problems.append(f'{where}[{key!r}]: {_REFUSED[key]}')
            elif key not in _OF_TARGETS:
                problems.append(f'{where}: unknown key {key!r}; allowed are {sorted(_OF_TARGETS)}')
            elif config.setdefault(key, value) != value:
                problems.append(f'{where}[{key!r}]={value!r}, but {config[key]!r} elsewhere for the same layers')
    return problems


def _name_of(selector: str | type) -> str:
    return selector.__name__ if isinstance(selector, type) else selector


def _selected(config: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Return the layers with parameters that NNI selects, in model order."""
    selection = {key: [_name_of(each) for each in config[key]] for key in _KEYS if 'op_' in key and key in config}
    modules, _, _ = select_modules_by_config(model, selection)
    return [
        name
        for name, module in model.named_modules()
        if name in modules and any(True for _ in module.parameters(False))
    ]


def exactly(layer: str, model: nn.Module) -> LayerPattern:
    """Return the pattern that matches one layer but not its submodules."""
    has_parts = any(True for _ in model.get_submodule(layer).children())
    return re.compile(rf'^{re.escape(layer)}$') if has_parts or not layer else layer
