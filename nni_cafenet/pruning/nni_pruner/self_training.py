"""Separation of a Lightning module's training from its network, so that it can train other widths."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from functools import cache, wraps
from types import FunctionType
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import nn

from ...errors import first_line
from ...supernet import loss_of
from ...utils import seeded

__all__ = ['check_training', 'network_copy', 'training_of']

Model = TypeVar('Model', bound=nn.Module)

_PARTS = ('_parameters', '_buffers', '_modules')


def network_copy(model: Model) -> Model:
    """Return a copy of a model, without a Lightning module's trainer."""
    trainer = vars(model).get('_trainer')
    memo: dict[int, Any] = {} if trainer is None else {id(trainer): None}
    return copy.deepcopy(model, memo)


def training_of(network: pl.LightningModule) -> LightningModule:
    """Return the training part of a Lightning module, without its network.

    The result has the methods, hooks and attributes of `network`, which is not changed, and trains the network passed
    to ``set_model``: a supernet, or a slim model of the same class. Calls of the module (``self(x)``), its parameters
    and its submodules (``self.encoder``) refer to that network.
    """
    kind: Any = type(network)
    training: Any = object.__new__(_training_class(kind))
    training.__dict__.update({name: {} for name in _PARTS})
    attributes = {name: value for name, value in vars(network).items() if name not in _PARTS}
    memo = {id(part): part for part in network.modules()}  # keep references to the network
    training.__dict__.update(copy.deepcopy({**attributes, '_trainer': None}, memo))
    result: LightningModule = training
    return result


@cache
def _training_class(kind: Any) -> Any:
    class Training(kind, LightningModule):  # type: ignore[misc]
        """The methods of the user's module with another network."""

        @property
        def model(self) -> Any:
            """The network for NNI; the user's attribute of this name for the user's methods."""
            network = self._modules.get('_model')
            if network is None:
                return LightningModule.model.fget(self)
            return network.model if self.__dict__.get('_in_own_code') else network

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self._modules['_model'](*args, **kwargs)

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                network = self._modules.get('_model')
                if network is None:
                    raise
                return getattr(network, name)

    for name, function in _own_methods(kind).items():
        if name not in vars(Training):
            setattr(Training, name, _marked(function))
    Training.__name__ = Training.__qualname__ = f'TrainingOf{kind.__name__}'
    return Training


def _own_methods(kind: type) -> dict[str, Any]:
    """Return the methods defined by the user's classes."""
    own = [each for each in kind.__mro__ if not issubclass(pl.LightningModule, each)]
    return {
        name: value
        for each in reversed(own)
        for name, value in vars(each).items()
        if isinstance(value, FunctionType) and not name.startswith('__')
    }


def _marked(function: Any) -> Any:
    @wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.__dict__.get('_in_own_code', False)
        self.__dict__['_in_own_code'] = True
        try:
            return function(self, *args, **kwargs)
        finally:
            self.__dict__['_in_own_code'] = before

    return call


def check_training(training: LightningModule, network: pl.LightningModule, batch: Any) -> None:
    """Check on a batch that a step of `training_of` runs the network only by calling the module.

    Raises ValueError if the step fails, or calls submodules directly, which would bypass the selected widths.
    """
    own, probe = network_copy(network), copy.deepcopy(training)
    try:
        _step(own, batch)
    except Exception:  # noqa: BLE001 - it may need its trainer; training then reports any error
        return
    probe.set_model(own)
    remedy = 'Call the module itself in training_step and validation_step: outputs = self(inputs).'
    try:
        with _outside_calls(own) as outside:
            _step(probe, batch)
    except Exception as error:
        raise ValueError(
            f'model: the training_step of {type(network).__name__} fails with another network '
            f'({type(error).__name__}: {first_line(error)}). {remedy}'
        ) from error
    if outside:
        raise ValueError(
            f'model: the training_step of {type(network).__name__} calls its submodule {outside[0]!r} directly, so it '
            f'cannot train a narrower network. {remedy}'
        )


def _step(module: pl.LightningModule, batch: Any) -> None:
    for name in ('log', 'log_dict'):
        setattr(module, name, lambda *args, **kwargs: None)
    with seeded(0), torch.no_grad():
        loss_of(module.eval().training_step(batch, 0))


@contextlib.contextmanager
def _outside_calls(network: pl.LightningModule) -> Iterator[list[str]]:
    """Record submodules with parameters that run outside a call of the network."""
    running: list[bool] = []
    outside: list[str] = []

    def note(name: str) -> Any:
        return lambda module, args: None if running else outside.append(name)

    handles = [
        network.register_forward_pre_hook(lambda module, args: running.append(True)),
        network.register_forward_hook(lambda module, args, output: running.clear()),
    ]
    for name, part in network.named_modules():
        if name and any(True for _ in part.parameters()):
            handles.append(part.register_forward_pre_hook(note(name)))
    try:
        yield outside
    finally:
        for handle in handles:
            handle.remove()
