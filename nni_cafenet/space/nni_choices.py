"""Choices of NNI's own model spaces: none is left, they are fixed at a sample, or the space is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni.mutable import Mutable, SampleMissingError, SampleValidationError
from nni.nas.space import BaseModelSpace
from torch import nn

__all__ = ['frozen_at', 'refuse_choices']

_MOST = 6


def frozen_at(sample: Mapping[str, Any], model: Any, *args: Any, **kwargs: Any) -> nn.Module:
    """Return the network that an NNI model space is at a sample, as ``space.freeze(sample)`` makes it.

    Parameters
    ----------
    sample
        The value of every choice, ``{label: value}``.
    model
        The space, or a factory of it.
    args, kwargs
        Arguments of the factory.

    Raises
    ------
    TypeError
        If ``model`` is, or makes, no NNI model space.
    ValueError
        If the sample lacks a label, has an unknown one, or a value that its choice does not have.
    """
    space = model if isinstance(model, nn.Module) else model(*args, **kwargs)
    if not isinstance(space, BaseModelSpace):
        raise TypeError(
            f'sample={sample!r} fixes choices of an NNI model space; {type(space).__name__} is none. Leave it out.'
        )
    choices = space.simplify()
    unknown = [label for label in sample if label not in choices]
    if unknown:
        raise ValueError(f'sample: {type(space).__name__} has no choices {unknown}. Its choices are {_shown(choices)}.')
    try:
        frozen: nn.Module = space.freeze(dict(sample))
    except (SampleMissingError, SampleValidationError) as error:
        raise ValueError(f'sample: {error}. The choices of {type(space).__name__} are {_shown(choices)}.') from None
    return frozen


def refuse_choices(model: nn.Module) -> None:
    """Raise TypeError if a model is an NNI model space, or has parts of one, with choices left.

    A frozen space has none, and is an ordinary network.
    """
    choices: dict[str, Any] = {}
    for part in model.modules():
        if isinstance(part, Mutable):
            choices.update(part.simplify())
    if not choices:
        return
    name = type(model).__name__
    if hasattr(model, 'full_model'):
        raise TypeError(
            f'model={name} is a model space already. Use it as it is, or give the model that it was made of.'
        )
    raise TypeError(
        f'model={name} is a model space already, with the choices {_shown(choices)}. Fix them and search the widths: '
        f'WidthMutator().mutate({name}, sample={{label: value}}, example_input=...). Or run an NNI strategy on it first, '
        "and give the network that it finds: experiment.export_top_models(formatter='instance')[0]."
    )


def _shown(choices: Mapping[str, Any]) -> str:
    shown = [f'{label!r}: {getattr(choice, "values", choice)}' for label, choice in list(choices.items())[:_MOST]]
    return ', '.join(shown) + (f' and {len(choices) - _MOST} more' if len(choices) > _MOST else '')
