"""The model of a space: a module, or a factory of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from nni.nas.nn.pytorch import ModelSpace
from torch import nn

from ..analysis import bare_model

__all__ = ['model_from']


def model_from(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> nn.Module:
    """Return the model, without wrappers such as data parallelism; a TypeError for anything else."""
    if isinstance(model, ModelSpace):
        raise TypeError(f'model={type(model).__name__} is a model space already; give the model that it was made of.')
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
