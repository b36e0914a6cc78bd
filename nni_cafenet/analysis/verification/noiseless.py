"""Runs without noise, so that runs of a model at different widths can be compared: of training, or of sampling (VAEs).

Dropout is off. Random numbers do not depend on shapes: all entries of a tensor are one number, seeded by the count of
draws and of attempts. Code that orders or mixes channels at random (``randperm``, sorted random numbers, products with a
random matrix) gets random orders and matrices, others at each attempt: one may undo what else the model does.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .random_tensors import RandomTensors

__all__ = ['EvaluationNoise', 'Noiseless']

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
    'uniform_ normal_ exponential_ random_ geometric_ cauchy_ log_normal_ binomial _standard_gamma '
    '_sample_dirichlet'.split()
)


class Noiseless(TorchFunctionMode):
    """Make the noise in this block zero, or the same at every width.

    Attributes
    ----------
    drew : bool
        Whether random numbers were drawn.
    silenced : bool
        Whether dropout, or other noise of one operator, was left out.
    orders : bool
        Whether random numbers may order or mix channels: torch's did, or others than torch's were drawn.
    attempt : int
        Attempts draw other numbers. Those from [0, 1) are close to 0 at even attempts and to 1 at odd ones, so that
        ``if torch.rand(()) < p`` takes both branches.
    """

    def __init__(self, *, statistics: bool = True) -> None:
        super().__init__()
        self.drew = self.orders = self.silenced = False
        self.attempt = 0
        self._statistics = statistics
        self._count = 0
        self._random = RandomTensors()

    def __enter__(self) -> Noiseless:
        """Seed all random generators; their states are not restored."""
        self._count = 0
        python, array = _seeds(self.attempt)
        random.seed(python)
        np.random.seed(array)
        _seed_torch(self.attempt)
        self._others = _others()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        others = _others() != self._others
        self.drew |= others
        self.orders |= others or self._random.used
        self._random.clear()

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, '__name__', '')
        if function in _ARGUMENTS:
            given = {**dict(zip(_ARGUMENTS[function], args)), **kwargs}
            self.silenced |= bool(given.get('training', function is not F.rrelu))
            return function(**{**given, 'training': False})
        if function is F.batch_norm and not self._statistics:
            given = {**dict(zip(_BATCH_NORM, args)), **kwargs}
            return function(**{**given, 'training': given.get('running_mean') is None})
        if function is F.gumbel_softmax:
            self.silenced = True
            return _without_gumbel_noise(*args, **kwargs)
        if name == 'scaled_dot_product_attention':
            self.silenced |= bool(args[4] if len(args) > 4 else kwargs.get('dropout_p', 0.0))
            return function(*args[:4], *((0.0,) if len(args) > 4 else ()), *args[5:], **{**kwargs, **_without(kwargs)})
        if name.rstrip('_') in _DROPOUTS and len(args) > 2:
            self.silenced |= bool(args[2])
            return function(*args[:2], False, *args[3:], **kwargs)
        if name in _RECURRENT:
            return function(*_no_dropout(args), **kwargs)
        if name in _DRAWS:
            return self._drawn(function, name, args, kwargs)
        return self._random.call(function, name, args, kwargs)

    def _drawn(self, function: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
        self.drew = True
        self._count += 1
        seed = 1000 * self.attempt + self._count
        _seed_torch(seed)
        result = function(*args, **{key: value for key, value in kwargs.items() if key != 'generator'})
        if not isinstance(result, Tensor) or result.is_meta or not result.numel():
            return result
        if name == 'randperm' or (name == 'multinomial' and args):
            length = result.shape[-1] if name == 'randperm' else args[0].shape[-1]
            order = self._random.order(length, seed)[: result.shape[-1]]
            return result.copy_(order.to(result).expand(result.shape))
        if name.startswith('bernoulli'):
            result.fill_(1)
        elif name in ('rand', 'rand_like') or (name == 'uniform_' and len(args) == 1 and not kwargs):
            result.fill_(0.999 if self.attempt % 2 else 0.001)
        else:
            result.copy_(result.reshape(-1)[0].clone().expand(result.shape))
        self._random.add(result, seed)
        return result


class EvaluationNoise:
    """Leaves out the noise of a model in evaluation mode, until a run of the whole model shows that it has none."""

    def __init__(self) -> None:
        self._noiseless = Noiseless()
        self._is_absent = False

    def left_out(self) -> contextlib.AbstractContextManager[Any]:
        """Return what a run is made inside of."""
        return contextlib.nullcontext() if self._is_absent else self._noiseless

    def note_whole_run(self) -> None:
        """Note that a run of the whole model, inside of `left_out`, has ended."""
        self._is_absent = not (self._noiseless.drew or self._noiseless.silenced)


def _seed_torch(seed: int) -> None:
    """Seed torch's generators; without other devices that of the CPU alone, in microseconds instead of milliseconds."""
    if _has_other_devices():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@functools.lru_cache(None)
def _has_other_devices() -> bool:
    devices = (torch.cuda, torch.backends.mps, getattr(torch, 'xpu', None))
    return any(device is not None and device.is_available() for device in devices)


def _others() -> Any:
    """Return a state that changes if a number is drawn from Python's or NumPy's generator."""
    array: Any = np.random.get_state()
    return hash(random.getstate()), array[2]


def _without(kwargs: Any) -> dict[str, float]:
    return {'dropout_p': 0.0} if 'dropout_p' in kwargs else {}


def _without_gumbel_noise(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    soft = (logits / tau).softmax(dim)
    return torch.zeros_like(soft).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0) if hard else soft


def _no_dropout(args: Any) -> list[Any]:
    """Return the arguments of a recurrent operator with its dropout, the only float among them, at 0."""
    return [0.0 if isinstance(argument, float) else argument for argument in args]


@functools.lru_cache(None)
def _seeds(attempt: int) -> tuple[int, int]:
    """Return seeds for Python and NumPy, others at each attempt; the first number is close to 0 or to 1."""
    firsts = (lambda seed: random.Random(seed).random(), lambda seed: float(np.random.RandomState(seed).rand()))
    wanted = (lambda number: number > 0.98) if attempt % 2 else (lambda number: number < 0.02)
    python, array = (
        next(itertools.islice((seed for seed in range(10**6) if wanted(first(seed))), attempt // 2, None))
        for first in firsts
    )
    return python, array
