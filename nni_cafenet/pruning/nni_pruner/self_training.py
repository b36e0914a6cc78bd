"""A Lightning module that is the network and its training at once becomes one that trains any network of its kind."""

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
    """Return a copy of a model; of a Lightning module without the trainer that it was trained by."""
    trainer = vars(model).get('_trainer')
    memo: dict[int, Any] = {} if trainer is None else {id(trainer): None}
    return copy.deepcopy(model, memo)


def training_of(network: pl.LightningModule) -> LightningModule:
    """Return the training of a Lightning module, without its network.

    What it returns has the methods, hooks and attributes of the module; the network is what its ``set_model`` is called
    with: a supernet, or a slim model, which is a module of the same class. Calls of the module itself (``self(x)``) are
    calls of that network, its parameters are those of the network, and parts (``self.encoder``) are the network's.

    Parameters
    ----------
    network
        The user's module. It stays as it is.
    """
    kind: Any = type(network)
    training: Any = object.__new__(_training_class(kind))
    training.__dict__.update({name: {} for name in _PARTS})
    attributes = {name: value for name, value in vars(network).items() if name not in _PARTS}
    memo = {id(part): part for part in network.modules()}  # what refers to the network is no copy of it
    training.__dict__.update(copy.deepcopy({**attributes, '_trainer': None}, memo))
    result: LightningModule = training
    return result


@cache
def _training_class(kind: Any) -> Any:
    class Training(kind, LightningModule):  # type: ignore[misc]
        """The methods of the user's module; the network is another one."""

        @property
        def model(self) -> Any:
            """For NNI the network; for the user's own methods whatever they call so."""
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
    """The methods that the classes of a user define, beyond those of Lightning."""
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
    """See on a batch that a training step runs the network only by calling the module.

    Parameters
    ----------
    training
        What `training_of` made.
    network
        The module that it was made of.
    batch
        A batch of training data, on the device of the network.

    Raises
    ------
    ValueError
        If the training step fails, or runs layers of the module otherwise: those would not be of the width that is trained.
    """
    own, probe = network_copy(network), copy.deepcopy(training)
    try:
        _step(own, batch)
    except Exception:  # noqa: BLE001 - it may need its trainer; then the training itself will show what is wrong
        return
    probe.set_model(own)
    remedy = 'Call the module itself in training_step and validation_step: outputs = self(inputs).'
    try:
        with _outside_calls(own) as outside:
            _step(probe, batch)
    except Exception as error:
        raise ValueError(
            f'model: the training_step of {type(network).__name__} fails where the network is another one '
            f'({type(error).__name__}: {first_line(error)}). {remedy}'
        ) from error
    if outside:
        raise ValueError(
            f'model: the training_step of {type(network).__name__} runs its part {outside[0]!r}, so that it cannot train a '
            f'narrower one. {remedy}'
        )


def _step(module: pl.LightningModule, batch: Any) -> None:
    for name in ('log', 'log_dict'):
        setattr(module, name, lambda *args, **kwargs: None)
    with seeded(0), torch.no_grad():
        loss_of(module.eval().training_step(batch, 0))


@contextlib.contextmanager
def _outside_calls(network: pl.LightningModule) -> Iterator[list[str]]:
    """Note the parts with parameters that run while the network itself does not."""
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
