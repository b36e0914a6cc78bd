"""The model of a space: a module, or a factory of one; and what its user holds in evaluation mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..analysis import bare_model
from ..utils import BatchNorm

__all__ = ['model_from', 'norms_held_in_eval']


def model_from(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> nn.Module:
    """Return the model, without wrappers such as data parallelism.

    Raises TypeError for anything else.
    """
    if isinstance(model, torch.export.ExportedProgram):
        raise TypeError('model is an ExportedProgram, for one width. Give the module that was exported.')
    if isinstance(model, nn.Module):
        if args or kwargs:
            raise TypeError('A live model takes no further arguments; give a factory to pass arguments to it.')
        return bare_model(model)
    if not callable(model):
        raise TypeError(f'model={model!r} must be a torch.nn.Module or a factory that makes one.')
    made = model(*args, **dict(kwargs or {}))
    if not isinstance(made, nn.Module):
        raise TypeError(f'The factory {model!r} returned {type(made).__name__}, not a torch.nn.Module.')
    return bare_model(made)


def norms_held_in_eval(model: nn.Module) -> frozenset[str]:
    """Return the names of batch normalizations in evaluation mode inside a model in training mode."""
    held = (name for name, part in model.named_modules() if isinstance(part, BatchNorm) and not part.training)
    return frozenset(held if model.training else ())
