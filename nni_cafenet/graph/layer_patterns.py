"""``include`` and ``exclude``: patterns for layers whose widths may change.

A string is the name of a layer, or of a submodule and everything inside. If the model has no such name, it matches the
end of names: ``'conv1'`` matches ``layer1.0.conv1``. Strings with ``*``, ``?`` or ``[`` are shell patterns of full names.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

from torch import nn

from .channel_graph import ChannelGraph

__all__ = ['LayerPattern', 'excluded_modules', 'matching_layers', 'restrict']

LayerPattern = str | re.Pattern[str] | type
"""A name of a layer or submodule, the end of one, a shell pattern, a regular expression, or a module class."""


def restrict(
    graph: ChannelGraph,
    model: nn.Module,
    include: Sequence[LayerPattern] | None,
    exclude: Sequence[LayerPattern] | None,
) -> ChannelGraph:
    """Fix groups that ``include`` does not match or ``exclude`` matches.

    A group stays variable only if all of its producers may change.

    Parameters
    ----------
    graph
        The channel graph of the model.
    model
        The model, for names and classes of layers.
    include
        Layers whose output widths may change; None for all.
    exclude
        Layers whose output widths may not change, even if included; None for none.

    Raises
    ------
    ValueError
        If ``include`` is empty, or a pattern matches no layer.
    TypeError
        If a pattern is of another type.
    """
    if include is not None and len(_as_list('include', include)) == 0:
        raise ValueError('include=[] matches no layer. Name at least one layer, or use None for all layers.')
    allowed = matching_layers('include', include, model) if include is not None else None
    denied = matching_layers('exclude', exclude or (), model)
    reasons = {}
    for group in graph.groups:
        excluded = [layer for layer in group.producers_or_members if layer in denied]
        left_out = [layer for layer in group.producers_or_members if allowed is not None and layer not in allowed]
        if excluded:
            reasons[group.label] = f'is excluded (exclude names {excluded[0]})'
        elif left_out:
            reasons[group.label] = f'is not included (include does not name {left_out[0]})'
    return graph.with_fixed(reasons)


def excluded_modules(model: nn.Module, exclude: Sequence[LayerPattern] | None) -> list[str]:
    """Return the outermost submodules that ``exclude`` matches."""
    named = matching_layers('exclude', exclude or (), model)
    return sorted(name for name in named if not any(name.startswith(f'{other}.') for other in named))


def matching_layers(argument: str, patterns: Iterable[LayerPattern], model: nn.Module) -> set[str]:
    """Return the names of layers and submodules that match; ``argument`` names the patterns in errors.

    Raises
    ------
    ValueError
        If a pattern matches nothing.
    TypeError
        If a pattern is of another type, or a single pattern is given in place of a list.
    """
    modules = dict(model.named_modules())
    found: set[str] = set()
    for pattern in _as_list(argument, patterns):
        matches = {name for name, module in modules.items() if name and _matches(argument, pattern, name, module)}
        if not matches and isinstance(pattern, str):
            matches = {name for name in modules if name and f'.{pattern}.' in f'.{name}.'}
        if not matches:
            some = ', '.join([name for name, module in modules.items() if name and not list(module.children())][:5])
            raise ValueError(f'{argument}: {pattern!r} matches no layer of the model. Layers are named like {some}.')
        found |= matches
    return found


def _matches(argument: str, pattern: LayerPattern, name: str, module: nn.Module) -> bool:
    if isinstance(pattern, str):
        return name == pattern or name.startswith(f'{pattern}.') or fnmatch.fnmatchcase(name, pattern)
    if isinstance(pattern, re.Pattern):
        return pattern.search(name) is not None
    if isinstance(pattern, type) and issubclass(pattern, nn.Module):
        return isinstance(module, pattern)
    raise TypeError(
        f'{argument} takes layer names, shell patterns, compiled regular expressions and module classes, '
        f'not {pattern!r}.'
    )


def _as_list(argument: str, patterns: Iterable[LayerPattern]) -> list[LayerPattern]:
    if isinstance(patterns, (str, re.Pattern, type)):
        raise TypeError(f'{argument}={patterns!r} must be a list: write {argument}=[{patterns!r}].')
    return list(patterns)
