"""Training mode without its noise, so that runs of a model at different widths can be compared.

Dropout is off. Random numbers do not depend on shapes: all entries of a tensor are one number, seeded by the count of
draws. Code that chooses channels at random (``randperm``, sorted random numbers) gets an order other than the original.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ['PHASES', 'NoiselessTraining']

PHASES = ('low', 'high')
"""Whether numbers drawn from [0, 1) are close to 0 or to 1, so that ``if torch.rand(()) < p`` takes both branches."""

_ARGUMENTS: dict[Any, tuple[str, ...]] = {
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), ('input', 'p', 'training', 'inplace')),
    **dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout), ('input', 'p', 'training', 'inplace')),
    F.rrelu: ('input', 'lower', 'upper', 'training', 'inplace'),
}
"""Functions that are random in training mode only, with the names of their arguments."""

_DROPOUTS = ('dropout', 'alpha_dropout', 'feature_dropout', 'feature_alpha_dropout')
_RECURRENT = ('lstm', 'gru', 'rnn_tanh', 'rnn_relu')
_BATCH_NORM = ('input', 'running_mean', 'running_var', 'weight', 'bias', 'training', 'momentum', 'eps')
_DRAWS = frozenset(
    'rand rand_like randn randn_like normal bernoulli poisson randint randint_like randperm multinomial bernoulli_ '
    'uniform_ normal_ exponential_ random_ geometric_ cauchy_ log_normal_'.split()
)
_ORDERS = frozenset({'argsort', 'sort', 'topk'})


class NoiselessTraining(TorchFunctionMode):
    """Make the noise of training mode in this block zero, or the same at every width.

    Attributes
    ----------
    drew : bool
        Whether random numbers were drawn.
    phase : str
        One of `PHASES`, for the next run.
    """

    def __init__(self, *, statistics: bool = True) -> None:
        super().__init__()
        self.drew = False
        self._statistics = statistics
        self.phase = PHASES[0]
        self._count = 0

    def __enter__(self) -> NoiselessTraining:
        """Seed all random generators; their states are not restored."""
        self._count = 0
        python, array = _seeds(self.phase)
        random.seed(python)
        np.random.seed(array)
        torch.manual_seed(0)
        self._others = _others()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.drew = self.drew or _others() != self._others

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, '__name__', '')
        if function in _ARGUMENTS:
            return function(**{**dict(zip(_ARGUMENTS[function], args)), **kwargs, 'training': False})
        if function is F.batch_norm and not self._statistics:
            given = {**dict(zip(_BATCH_NORM, args)), **kwargs}
            return function(**{**given, 'training': given.get('running_mean') is None})
        if name == 'scaled_dot_product_attention':
            return function(*args[:4], *((0.0,) if len(args) > 4 else ()), *args[5:], **{**kwargs, **_without(kwargs)})
        if name.rstrip('_') in _DROPOUTS and len(args) > 2:
            return function(*args[:2], False, *args[3:], **kwargs)
        if name in _RECURRENT:
            return function(*_no_dropout(args), **kwargs)
        if name in _DRAWS:
            return self._drawn(function, name, args, kwargs)
        if name in _ORDERS and args and isinstance(args[0], Tensor) and _is_constant(args[0]):
            return _shuffled(function, args, kwargs)
        return function(*args, **kwargs)

    def _drawn(self, function: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
        self.drew = True
        self._count += 1
        torch.manual_seed(self._count)
        result = function(*args, **{key: value for key, value in kwargs.items() if key != 'generator'})
        if not isinstance(result, Tensor) or result.is_meta or not result.numel():
            return result
        if name == 'randperm' or (name == 'multinomial' and args):
            length = result.shape[-1] if name == 'randperm' else args[0].shape[-1]
            order = torch.arange(length - 1, length - 1 - result.shape[-1], -1, device=result.device)
            return result.copy_(order.to(result.dtype).expand(result.shape))
        if name.startswith('bernoulli'):
            return result.fill_(1)
        if name in ('rand', 'rand_like') or (name == 'uniform_' and len(args) == 1 and not kwargs):
            return result.fill_(0.001 if self.phase == 'low' else 0.999)
        return result.copy_(result.reshape(-1)[0].clone().expand(result.shape))


def _others() -> Any:
    """Return a state that changes if a number is drawn from Python's or NumPy's generator."""
    array: Any = np.random.get_state()
    return hash(random.getstate()), array[2]


def _without(kwargs: Any) -> dict[str, float]:
    return {'dropout_p': 0.0} if 'dropout_p' in kwargs else {}


def _no_dropout(args: Any) -> list[Any]:
    """Return the arguments of a recurrent operator with its dropout, the only float among them, at 0."""
    return [0.0 if isinstance(argument, float) else argument for argument in args]


def _is_constant(x: Tensor) -> bool:
    return x.is_floating_point() and not x.is_meta and x.numel() > 1 and bool((x == x.reshape(-1)[0]).all())


def _shuffled(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Sort random numbers, all equal here, into an order that depends only on how many there are."""
    x = args[0]
    default = args[1] if len(args) > 1 and type(args[1]) is int and function.__name__ != 'topk' else -1
    dim = kwargs.get('dim', args[2] if function.__name__ == 'topk' and len(args) > 2 else default)
    length = int(x.shape[dim])
    keys = torch.rand(length, generator=torch.Generator().manual_seed(length)).to(x)
    shape = [1] * x.dim()
    shape[dim] = -1
    return function(keys.reshape(shape).expand(x.shape).contiguous(), *args[1:], **kwargs)


@functools.lru_cache(None)
def _seeds(phase: str) -> tuple[int, int]:
    """Return seeds for Python and NumPy whose first number is close to 0 or to 1."""
    firsts = (lambda seed: random.Random(seed).random(), lambda seed: float(np.random.RandomState(seed).rand()))
    wanted = (lambda number: number < 0.02) if phase == 'low' else (lambda number: number > 0.98)
    python, array = (next(seed for seed in range(10_000) if wanted(first(seed))) for first in firsts)
    return python, array
