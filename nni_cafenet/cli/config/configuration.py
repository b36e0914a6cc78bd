"""Configurations, from a file and the options of a command, checked as a whole."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigurationError
from ...options import Halving, TrainingRecipe
from ..recipes import Recipe
from ..yaml_files import parse_value, read_yaml, to_yaml
from .fields import FIELDS, REQUIRED, SECTIONS, Field

__all__ = ['Configuration', 'Given', 'check_options', 'set_fields']

_BY_PATH = {field.path: field for field in FIELDS}


@dataclass(frozen=True)
class Given:
    """A value that a user gave.

    ``where`` is for messages: ``'search.population'`` in a file, ``'--population'`` on the command line.
    """

    where: str
    value: Any


class Configuration(Mapping[str, Any]):
    """The options of a job by path: ``configuration['search.population']``. Made by `checked`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {field.path: values[field.path] for field in FIELDS}

    @classmethod
    def checked(
        cls,
        file: str | None,
        options: Mapping[str, Given],
        *,
        trained: bool = False,
        more: Sequence[Callable[[Mapping[str, Given]], list[str]]] = (),
    ) -> Configuration:
        """Make a configuration; options override the YAML file, and both override defaults.

        A named ``recipe`` in either gives the defaults of the fields that it has. Other defaults depend on whether the job
        starts from ``trained`` weights, as it also does if ``model.weights`` is given. ``more`` are further checks: each
        takes the given values by path, and returns problems, one line each.
        The ConfigurationError lists all problems, one per line.
        """
        problems: list[str] = []
        given: dict[str, Given] = {}
        if file is not None:
            given.update(_flattened(read_yaml(file), problems))
        given.update(options)
        named = {path: each for path, each in _of_recipe(given.get('recipe')).items() if path not in given}
        given.update(named)
        problems += _refused(given)
        for check in more:
            problems += check(given)
        problems += [
            f'{field.path}: is missing; give {field.flag}, or {_in_a_file(field)} in a configuration file'
            for field in FIELDS
            if field.default is REQUIRED and field.path not in given
        ]
        _refuse(problems, f'configuration {file}' if file is not None else 'options')
        weights = given.get('model.weights')
        fresh = not trained and (weights is None or weights.value is None)
        made = cls(
            {
                field.path: given[field.path].value if field.path in given else field.default_for(fresh)
                for field in FIELDS
            }
        )
        if made['search.method'] == 'knapsack' and 'training.epochs' not in given:
            made = made.with_values(training__epochs=0)
        idle = [path for path, _ in _conflicts(made, fresh, trained) if path in named]  # beside what overrides a recipe
        made = cls({**made, **{path: _BY_PATH[path].default_for(fresh) for path in idle}})
        problems = [f'{path}: {problem}' for path, problem in _conflicts(made, fresh, trained)]
        _refuse(problems, f'configuration {file}' if file is not None else 'options')
        return made

    @classmethod
    def from_nested(cls, values: Mapping[str, Any]) -> Configuration:
        """Read the output of `nested`; fields that do not change the result may be missing."""
        problems: list[str] = []
        given = _flattened(values, problems)
        defaults = {
            field.path: field.default for field in FIELDS if field.changes_nothing and field.default is not REQUIRED
        }
        missing = [field.path for field in FIELDS if field.path not in given and field.path not in defaults]
        if problems or missing:
            raise ConfigurationError('; '.join([*problems, *(f'{path} is missing' for path in missing)]))
        return cls({**defaults, **{path: each.value for path, each in given.items()}})

    def __getitem__(self, path: str) -> Any:
        return self._values[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def with_values(self, **values: Any) -> Configuration:
        """Return the configuration with other values; ``search__keep`` is ``search.keep``."""
        return Configuration({**self._values, **{path.replace('__', '.'): value for path, value in values.items()}})

    def overridden(self, options: Mapping[str, Given]) -> Configuration:
        """Return the configuration with the values of options; a ConfigurationError lists all problems."""
        _refuse(_refused(options), 'options')
        return Configuration({**self._values, **{path: each.value for path, each in options.items()}})

    def nested(self) -> dict[str, Any]:
        """Return the fields as nested dicts, as in a file."""
        result: dict[str, Any] = {}
        for path, value in self._values.items():
            section, _, name = path.rpartition('.')
            (result.setdefault(section, {}) if section else result)[name] = value
        return result

    def section(self, name: str) -> dict[str, Any]:
        """Return the fields of a section by their names in it."""
        return {path.rpartition('.')[2]: value for path, value in self._values.items() if path.startswith(f'{name}.')}

    def to_yaml(self) -> str:
        """Return the configuration as YAML, as a file for the same job."""
        return to_yaml(self.nested())

    def differences(self, other: Configuration, without: Sequence[str] = ()) -> list[str]:
        """Return the differences from another configuration in fields that change the result, except ``without``."""
        return [
            f'{field.path}: {_shown(self[field.path])} there, {_shown(other[field.path])} now'
            for field in FIELDS
            if field.path not in without and not field.changes_nothing and self[field.path] != other[field.path]
        ]


def _of_recipe(given: Given | None) -> dict[str, Given]:
    """Return the fields of a named recipe; a ConfigurationError if there is none."""
    if given is None or not isinstance(given.value, str) or not given.value:
        return {}
    problems: list[str] = []
    fields = _flattened(Recipe.load(given.value).job, problems)
    _refuse(problems, f'recipe {given.value}')
    return fields


def set_fields(words: Sequence[str]) -> dict[str, Given]:
    """Return fields given as ``training.epochs=1``; a ConfigurationError names unknown ones."""
    nested: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        path, equals, value = word.partition('=')
        section, _, name = path.rpartition('.')
        if not equals or not name:
            problems.append(f'--set {word}: write a field and its value, such as --set training.epochs=1')
            continue
        (nested.setdefault(section, {}) if section else nested)[name] = parse_value(value)
    given = _flattened(nested, problems)
    _refuse(problems, 'options')
    return {path: Given(f'--set {path}', each.value) for path, each in given.items()}


def _conflicts(made: Configuration, fresh: bool, trained: bool) -> Iterator[tuple[str, str]]:
    """Yield the paths of values that are allowed, but not together, each with the problem."""
    if made['search.method'] == 'knapsack':
        yield from _knapsack_conflicts(made, trained)
    for name, problem in TrainingRecipe.conflicts(made.section('training')):
        path = f'training.{name}'
        yield path, f'{_shown(made[path])}: {problem}'
    short, rungs = made['search.method'] == 'short-trainings', made['search.halving']
    if short and not fresh:
        yield 'search.method', 'short-trainings start from fresh weights; with trained weights use evolution or random'
    if made['search.full'] and not fresh:
        yield 'search.full', 'applies to searches from fresh weights; omit it'
    if rungs is not None and not fresh and not short:
        yield 'search.halving', 'applies to searches from fresh weights; omit it'
    elif rungs is not None and not short and made['search.finalists'] == 1:
        yield 'search.halving', 'chooses among finalists; give --finalists 2 or more, or --method short-trainings'
    elif short and fresh and made['training.finetune_epochs']:
        last = Halving(rungs or (2, 4, 8), made['search.keep']).sizes(made['search.candidates'])[-1]
        finalists = made['search.finalists']
        if finalists is not None and finalists > last:
            yield 'search.finalists', f'{finalists}: the last rung of short-trainings has {last}; give fewer'


def _knapsack_conflicts(made: Configuration, trained: bool) -> Iterator[tuple[str, str]]:
    if not trained:
        yield 'search.method', 'knapsack keeps the most important channels of trained weights; use nni-cafenet prune'
    if made['training.importance'] == 'none':
        yield 'training.importance', 'none: --method knapsack chooses widths by importance; give another one'


def check_options(given: Mapping[str, Given], more: Callable[[Mapping[str, Given]], list[str]]) -> None:
    """Check options without a configuration; a ConfigurationError lists all problems, also those that ``more`` finds."""
    _refuse([*_refused(given), *more(given)], 'options')


def _refused(given: Mapping[str, Given]) -> list[str]:
    """Return the problems of values, one line each."""
    problems = []
    for path, each in given.items():
        problem = _BY_PATH[path].kind.problem(each.value)
        if problem is not None:
            problems.append(f'{each.where}: {_shown(each.value)}: {problem}')
    return problems


def _refuse(problems: Sequence[str], origin: str) -> None:
    if problems:
        count = f'{len(problems)} problems' if len(problems) > 1 else 'a problem'
        raise ConfigurationError(f'{origin}: {count}\n' + '\n'.join(f'  {problem}' for problem in problems))


def _flattened(values: Mapping[str, Any], problems: list[str]) -> dict[str, Given]:
    """Return the fields of a file by their paths; unknown ones are added to the problems."""
    given: dict[str, Given] = {}
    for key, value in values.items():
        if key in SECTIONS and key:
            if not isinstance(value, Mapping):
                problems.append(f'{key}: {_shown(value)}: must hold fields: {", ".join(_names(key))}')
                continue
            for name, part in value.items():
                path = f'{key}.{name}'
                if path in _BY_PATH:
                    given[path] = Given(path, part)
                else:
                    problems.append(_unknown(path, name, key))
        elif key in _BY_PATH and '.' not in key:
            given[key] = Given(key, value)
        else:
            problems.append(_unknown(str(key), key, ''))
    return given


def _unknown(path: str, name: Any, section: str) -> str:
    allowed = _names(section) if section else [*filter(None, SECTIONS), *_names('')]
    near = difflib.get_close_matches(str(name), allowed, n=1)
    elsewhere = [field.path for field in FIELDS if field.path.rpartition('.')[2] == name]
    hints: Iterable[str] = elsewhere or ([f'{section}.{near[0]}' if section else near[0]] if near else [])
    hint = next((f'did you mean {each}? ' for each in hints), '')
    return f'{path}: is not a field; {hint}allowed{f" in {section}" if section else ""}: {", ".join(allowed)}'


def _names(section: str) -> list[str]:
    return [field.path.rpartition('.')[2] for field in FIELDS if field.section == section]


def _in_a_file(field: Field) -> str:
    return f'{field.path.rpartition(".")[2]}: in {field.section}:' if field.section else f'{field.path}:'


def _shown(value: Any, most: int = 60) -> str:
    text = ' '.join(map(str, value)) if _is_plain_list(value) else 'null' if value is None else str(value)
    text = text if text else "''"
    return text if len(text) <= most else f'{text[: most - 3]}...'


def _is_plain_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and not any(isinstance(v, Mapping) for v in value)
