"""YAML with numbers as in Python and without duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, first_line

__all__ = ['parse_value', 'read_yaml', 'to_yaml']

_NUMBERS = {
    'tag:yaml.org,2002:int': re.compile(r'[-+]?[0-9]+'),
    'tag:yaml.org,2002:float': re.compile(r'[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?'),
}
"""In YAML 1.1, which PyYAML reads, 1:32 is the number 92, and 1e-3 a text."""


def read_yaml(path: str) -> dict[str, Any]:
    """Return the content of a YAML file.

    Raises ConfigurationError, with the line, if it cannot be read, is not YAML, repeats a key, or contains other things
    than fields.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f'configuration {path}: cannot be read ({first_line(error)}); check the path'
        ) from error
    try:
        found = yaml.load(text, _loader())
    except yaml.MarkedYAMLError as error:
        line = f', line {error.problem_mark.line + 1}' if error.problem_mark is not None else ''
        raise ConfigurationError(f'configuration {path}{line}: {error.problem or error.context}') from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f'configuration {path}: is not YAML ({first_line(error)})') from error
    if not isinstance(found, Mapping):
        what = 'nothing' if found is None else f'a {type(found).__name__}'
        raise ConfigurationError(f'configuration {path}: holds {what}; write fields, such as: budget: 50%')
    return dict(found)


def parse_value(text: str) -> Any:
    """Return the value of a word in YAML; the word itself if it is not YAML."""
    import yaml

    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError:
        return text


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return values as YAML, in their order."""
    import yaml

    text: str = yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=False, allow_unicode=True, width=120)
    return text


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, pattern in _NUMBERS.items():
        Loader.add_implicit_resolver(tag, re.compile(f'^(?:{pattern.pattern})$'), list('-+.0123456789'))
    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
    return Loader


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    import yaml

    loader.flatten_mapping(node)
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f'{key!r} occurs twice', key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found
