"""What to do about an object that cannot be sent to trials."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from ..nni_compat import is_recorded
from ..supernet import MinMinModule

__all__ = ['described', 'remedy_for']


def described(value: Any) -> str:
    """Name an object for messages, by its kind."""
    if inspect.isroutine(value) or isinstance(value, type):
        return f'the {"class" if isinstance(value, type) else "function"} {getattr(value, "__qualname__", value)}'
    return f'the {type(value).__name__}'


def remedy_for(path: str, value: Any) -> str:
    """Return the remedy for an object, found at this path, that cannot be sent."""
    kind = type(value).__name__
    if isinstance(value, MinMinModule):
        return 'Give the original evaluator.'
    if path.startswith('space.example_input'):
        return 'Give its shape, such as (1, 3, 224, 224), or a smaller one.'
    if path == 'space.model' and isinstance(value, nn.Module):
        return (
            'Give WidthMutator().mutate the class or factory function of the model and its arguments; or, to keep its '
            'weights, nni_cafenet.factory_of(model, path).'
        )
    if inspect.isroutine(value) or isinstance(value, type):
        return 'Move it to the top level of a module; captured variables are sent with it.'
    inner = getattr(value, 'dataset', None)
    then = '' if inner is None or is_recorded(inner) else f' {remedy_for(path, inner)}'
    if isinstance(value, TensorDataset):
        return 'Store its tensors in a file: nni_cafenet.traced_tensors(*dataset.tensors, path=...).'
    if isinstance(value, Subset):
        return f'Create it from a traced data set: nni_cafenet.traced(random_split)(...) or traced(Subset)(...).{then}'
    if isinstance(value, DataLoader):
        return f'Create it from a traced data set: nni_cafenet.traced(DataLoader)(...) or nni_cafenet.traced(loader).{then}'
    if isinstance(value, (Tensor, np.ndarray)):
        return 'Read it from a file in a traced class or function; for data sets, use nni_cafenet.traced_tensors.'
    if re.match('builtins$|_(?!_main__)', type(value).__module__):  # such as locks and open files
        return 'Create it in the object that takes it, or in a traced function.'
    return f'Create it with nni_cafenet.traced({kind})(...).'
