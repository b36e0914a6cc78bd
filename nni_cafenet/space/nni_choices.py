"""The networks of NNI's own model spaces: some choices fixed at a sample, the others left to be searched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from nni.mutable import Mutable, SampleMissingError, SampleValidationError
from nni.nas.space import BaseModelSpace, model_context
from torch import nn

from ..utils import ConvNd, pass_on, seeded

__all__ = ['NniNetworks', 'full_network', 'has_choices', 'networks_of', 'refuse_choices']

_MOST = 6


@dataclass(frozen=True)
class NniNetworks:
    """The networks of an NNI model space, as its ``freeze`` makes them.

    Attributes
    ----------
    fixed
        The choices that a sample fixes.
    values
        ``{label: values}`` of all others, ascending: positive numbers, whole or not.
    """

    space: BaseModelSpace
    fixed: Mapping[str, Any]
    values: Mapping[str, tuple[int, ...]]

    @property
    def largest(self) -> dict[str, int]:
        """The sample of the full network."""
        return {label: values[-1] for label, values in self.values.items()}

    def network(self, sample: Mapping[str, int]) -> nn.Module:
        """Return the network of a sample."""
        whole = {**self.fixed, **sample}
        try:
            frozen: nn.Module = self.space.freeze(whole)
        except NotImplementedError:  # choices that were given to add_mutable; NNI names this way to freeze them
            frozen = self._made_anew(whole)
        return frozen

    def _made_anew(self, sample: Mapping[str, Any]) -> nn.Module:
        space: Any = self.space
        with model_context(dict(sample)):
            made: nn.Module = type(space)(*space.trace_args, **space.trace_kwargs)
        return made

    def full(self) -> nn.Module:
        """Return the network of the largest values."""
        return self.network(self.largest)

    def sizes(self, sample: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Return the sizes of all parameters and buffers of a network; its random numbers are not those of the user."""
        whole = {**self.largest, **sample}
        with seeded(0):
            return self._sizes_anew(whole) if self._is_made_anew_alike else self._sizes_frozen(whole)

    @cached_property
    def _is_made_anew_alike(self) -> bool:
        """Whether the constructor, told the sample, makes the network that ``freeze`` makes, which takes longer."""
        try:
            return self._sizes_anew(self.largest) == self._sizes_frozen(self.largest)
        except Exception as error:  # noqa: BLE001  code that needs values, or choices that it does not keep
            pass_on(error)
            return False

    def _sizes_anew(self, sample: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        with torch.device('meta'):
            return _sizes_of(self._made_anew({**self.fixed, **sample}))

    def _sizes_frozen(self, sample: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        return _sizes_of(self.network(sample))

    def is_unused(self, label: str) -> bool:
        """Whether no module of the network depends on a choice, such as one of a block that a fixed depth leaves out."""
        with seeded(0):
            ends = [
                self.network({**self.largest, label: value})
                for value in (self.values[label][0], self.values[label][-1])
            ]
        return _settings_of(ends[0]) == _settings_of(ends[1])

    def constant_groups(self) -> set[tuple[str, str]]:
        """Return the numbers of groups that the choices leave as they are, as (module, attribute)."""
        smallest = {label: values[0] for label, values in self.values.items()}
        full = set(self._groups_at(self.largest) or ())
        found = self._groups_at(smallest) if smallest and full else set()
        if found is not None:
            return {(module, name) for module, name, _ in full & found}
        for label, values in self.values.items():  # some value makes no network, which is refused later
            others = ({**self.largest, label: value} for value in values)
            full &= next(known for known in map(self._groups_at, others) if known is not None)
        return {(module, name) for module, name, _ in full}

    def _groups_at(self, sample: Mapping[str, int]) -> set[tuple[str, str, int]] | None:
        """Return the numbers of groups of a network; None if NNI makes no network of the sample."""
        try:
            with seeded(0):
                return set(_groups_of(self.network(sample)))
        except Exception as error:  # noqa: BLE001  the user's code may raise anything
            pass_on(error)
            return None

    def shown_groups(self) -> str:
        """Return the layers of the full network that have groups, in words."""
        with seeded(0):
            found = [f'{module} has {name}={number}' for module, name, number in _groups_of(self.full())]
        return ', '.join(found[:_MOST]) + (f' and {len(found) - _MOST} more' if len(found) > _MOST else '')

    def refusal(self, reasons: Mapping[str, str]) -> TypeError:
        """Return the error for choices that are no widths, ``{label: reason}``."""
        return _refusal(self.space, reasons, self.fixed)


def _sizes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _groups_of(network: nn.Module) -> Iterator[tuple[str, str, int]]:
    """Yield module, attribute and value of the numbers of groups of a network."""
    for path, module in network.named_modules():
        name = 'num_groups' if isinstance(module, nn.GroupNorm) else 'groups' if isinstance(module, ConvNd) else None
        if name is not None and getattr(module, name) > 1:
            yield path, name, getattr(module, name)


def _settings_of(network: nn.Module) -> list[tuple[str, str, dict[str, str]]]:
    """Return name, class and plain attributes of all modules."""
    return [
        (name, type(part).__name__, {key: repr(value) for key, value in vars(part).items() if _is_plain(value)})
        for name, part in network.named_modules()
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def has_choices(model: Any) -> bool:
    """Whether a model is an NNI model space with choices left: a frozen one has none, and is an ordinary network."""
    return isinstance(model, nn.Module) and bool(_choices_of(model))


def refuse_choices(model: nn.Module) -> None:
    """Raise TypeError if a model that should be trained already is an NNI model space with choices left."""
    if has_choices(model) and not hasattr(model, 'full_model'):
        name = type(model).__name__
        raise TypeError(
            f'model={name} is a model space with the choices {_shown(_choices_of(model))}, so it is no trained network. '
            "Give the one that a search finds, once it is trained: experiment.export_top_models(formatter='instance')[0], "
            f'or {name}.freeze(sample). CafeNet(budget=...) searches the widths of a space.'
        )


def full_network(space: nn.Module) -> nn.Module:
    """Return the network of an NNI model space at the largest values of its choices; see `networks_of` for errors."""
    networks = networks_of(space, None)
    return space if networks is None else networks.full()


def networks_of(model: nn.Module, sample: Mapping[str, Any] | None) -> NniNetworks | None:
    """Return the networks of a model with choices; None for a model without any.

    Raises
    ------
    TypeError
        If choices are left that cannot be widths, or there is a sample but no choice.
    ValueError
        If the sample has an unknown label, or a value that its choice does not have.
    """
    choices, name = _choices_of(model), type(model).__name__
    if not choices:
        if sample is not None:
            raise TypeError(f'sample={sample!r} fixes choices of an NNI model space; {name} is none. Leave it out.')
        return None
    if hasattr(model, 'full_model'):
        raise TypeError(
            f'model={name} is a model space already. Use it as it is, or give the model that it was made of.'
        )
    if not isinstance(model, BaseModelSpace):
        raise TypeError(
            f'model={name} has parts with the choices {_shown(choices)}, but is no NNI model space, whose freeze(sample) '
            'makes a network. Derive it from nni.nas.nn.pytorch.ModelSpace.'
        )
    fixed = {} if sample is None else dict(sample)
    unknown = [label for label in fixed if label not in choices]
    if unknown:
        raise ValueError(f'sample: {name} has no choices {unknown}. Its choices are {_shown(choices)}.')
    left = {label: choice for label, choice in choices.items() if label not in fixed}
    odd = {label: 'no list of positive numbers' for label, choice in left.items() if not _are_widths(choice)}
    if odd:
        raise _refusal(model, odd, fixed)
    values = {label: tuple(sorted(set(map(_plain, choice.values)))) for label, choice in left.items()}
    networks = NniNetworks(model, fixed, values)
    try:
        networks.space.validate({**networks.largest, **fixed})
    except (SampleMissingError, SampleValidationError) as error:
        raise ValueError(f'sample: {error}. The choices of {name} are {_shown(choices)}.') from None
    return networks


def _choices_of(model: nn.Module) -> dict[str, Any]:
    choices: dict[str, Any] = {}
    for part in model.modules():
        if isinstance(part, Mutable):
            choices.update(part.simplify())
    return choices


def _are_widths(choice: Any) -> bool:
    values = getattr(choice, 'values', None)
    return isinstance(values, Collection) and all(
        isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and value > 0 for value in values
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _refusal(space: nn.Module, reasons: Mapping[str, str], fixed: Mapping[str, Any]) -> TypeError:
    choices, name = _choices_of(space), type(space).__name__
    shown = [f'{_shown({label: choices[label]})} ({reason})' for label, reason in list(reasons.items())[:_MOST]]
    more = f' and {len(reasons) - _MOST} more' if len(reasons) > _MOST else ''
    example = {**fixed, **{label: _first(choices[label]) for label in reasons}}
    sample = ', '.join(f'{label!r}: {value!r}' for label, value in list(example.items())[:_MOST])
    dots = ', ...' if len(example) > _MOST else ''
    return TypeError(
        f'model={name} is a model space with choices that are no widths: {", ".join(shown)}{more}. Fix them and search '
        f'the widths: WidthMutator().mutate({name}, sample={{{sample}{dots}}}, example_input=...). Or run an NNI strategy '
        "on it first, and give the network that it finds: experiment.export_top_models(formatter='instance')[0]."
    )


def _first(choice: Any) -> Any:
    return next(iter(getattr(choice, 'values', None) or [choice.default()]))


def _shown(choices: Mapping[str, Any]) -> str:
    shown = [f'{label!r}: {getattr(choice, "values", choice)}' for label, choice in list(choices.items())[:_MOST]]
    return ', '.join(shown) + (f' and {len(choices) - _MOST} more' if len(choices) > _MOST else '')
