"""Everything that a job needs, created and checked before any long work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import ConfigurationError, DataError, ModelSpecError, first_line
from ...options import TrainingRecipe
from ...pruning import LOSSES, TrainerOptions, main_output
from ...stages import check_loggers
from ...utils import seeded
from ..config import Configuration
from ..data import Data, DataRequest, Pixels, check_outputs, load_data
from ..loading import (
    CodeName,
    check_model_name,
    find_weights,
    give_weights,
    load_model,
    takes_argument,
    torchvision_name,
)
from .detectors import check_picture_size, picture_size, size_arguments

__all__ = ['Prepared', 'prepare_job', 'recipe_of', 'search_of', 'trainer_of']


@dataclass(frozen=True)
class Prepared:
    """Everything that a job needs.

    ``make`` makes the model with fresh weights; ``model`` has its trained weights, if any. ``input`` is the shape of
    its input, with the batch. For ``loss``, ``metric`` and ``recipe``, see `nni_cafenet.prune`. ``source`` is the folder of
    the run whose supernet the job takes, if any.
    """

    configuration: Configuration
    data: Data
    make: Callable[[], nn.Module]
    arguments: dict[str, Any]
    model: nn.Module
    input: tuple[int, ...]
    loss: Any
    metric: Any
    recipe: TrainingRecipe
    source: Path | None = None


def prepare_job(configuration: Configuration, say: Callable[[str], None]) -> Prepared:
    """Load data, model and weights, and check that they fit each other; ``say`` prints a line for the user."""
    trainer_of(configuration)
    recipe = recipe_of(configuration)
    check_loggers(recipe.loggers or ())
    name, weights = configuration['model.name'], configuration['model.weights']
    loss = _function(configuration['training.loss'], 'loss', (*LOSSES, 'model'))
    metric = _function(configuration['training.metric'], 'metric', ())
    _check_name(configuration)
    found = None
    if weights is not None:
        key, unpickle = configuration['model.weights_key'], configuration['model.unpickle']
        found = find_weights(weights, torchvision_name=torchvision_name(name), key=key, unpickle=unpickle)
    data = load_data(_request(configuration))
    say(f'data: {data.description}')
    loss = data.loss if loss is None else loss
    metric = data.metric if metric is None else metric
    if data.validate is None:
        raise DataError(
            f'data {configuration["data.source"]!r}: has no validation data, to compare networks on; return two '
            'loaders, for training and for validation'
        )
    arguments = _arguments(configuration, data)
    make = partial(load_model, name, arguments=arguments, unpickle=configuration['model.unpickle'])
    say(f'model: {name}{_called_with(arguments)}' + (f', weights: {weights}' if weights is not None else ''))
    with seeded(configuration['seed']):
        model = make()
    if found is not None:
        for note in give_weights(model, found, weights):
            say(f'weights: {note}')
    shape = _shape(configuration, data, model)
    check_picture_size(name, model, shape)
    _check_outputs(configuration, data, model, shape)
    return Prepared(configuration, data, make, arguments, model, shape, loss, metric, recipe)


def trainer_of(configuration: Configuration) -> TrainerOptions:
    """Return devices and precision of training; a ValueError if there are no such devices."""
    return TrainerOptions(*(configuration[name] for name in ('device', 'precision', 'devices', 'nodes', 'strategy')))


def recipe_of(configuration: Configuration) -> TrainingRecipe:
    """Return the training recipe."""
    return TrainingRecipe(**{each.name: configuration[f'training.{each.name}'] for each in TrainingRecipe.options()})


def search_of(configuration: Configuration) -> Any:
    """Return the searcher, or the name of one that `nni_cafenet.prune` makes."""
    from ...search import Evolution, RandomSearch

    population, generations = configuration['search.population'], configuration['search.generations']
    if configuration['search.method'] == 'knapsack':
        return 'knapsack'
    if configuration['search.method'] == 'random':
        left_open = population is None and generations is None
        return RandomSearch(None if left_open else Evolution(population, generations).total)
    initial = None if configuration['model.weights'] is None else 'uniform'
    return Evolution(population=population, generations=generations, initial=initial)


def _request(configuration: Configuration) -> DataRequest:
    asked = configuration['model.input']
    preset = Pixels.for_model(configuration['model.name'])
    pixels = preset
    if asked is not None and len(asked) == 4:
        if preset is None or asked[1] != preset.channels:
            pixels = Pixels.of(asked[1:])
        else:
            pixels = preset.resized(asked[2], asked[3])
    return DataRequest(
        configuration['data.source'],
        pixels,
        exact=asked is not None,
        batch_size=configuration['data.batch_size'],
        workers=configuration['data.workers'],
        seed=configuration['seed'],
        validation=configuration['data.validation'],
        trained=configuration['model.weights'] is not None,
        fraction=configuration['data.fraction'],
        recipe=recipe_of(configuration),
    )


def _check_name(configuration: Configuration) -> None:
    """Raise for a model that does not exist, before data are read, and for classes that its factory does not take."""
    check_model_name(configuration['model.name'])
    takes_classes = takes_argument(configuration['model.name'], 'num_classes')
    if configuration['model.classes'] is not None and not takes_classes:
        raise ModelSpecError(
            f'model {configuration["model.name"]!r}: its factory takes no num_classes, so --classes does not reach '
            'it; leave that out, or give what it takes by --model-args'
        )


def _arguments(configuration: Configuration, data: Data) -> dict[str, Any]:
    sizes = size_arguments(configuration['model.name'], configuration['model.input'])
    arguments, classes = {**sizes, **configuration['model.args']}, configuration['model.classes']
    if 'num_classes' in arguments:
        return arguments
    if classes is None and data.classes is not None and takes_argument(configuration['model.name'], 'num_classes'):
        classes = len(data.classes)
    return arguments if classes is None else {**arguments, 'num_classes': classes}


def _called_with(arguments: dict[str, Any]) -> str:
    return f' ({", ".join(f"{key}={value!r}" for key, value in arguments.items())})' if arguments else ''


def _shape(configuration: Configuration, data: Data, model: nn.Module) -> tuple[int, ...]:
    asked = configuration['model.input']
    if asked is not None:
        return tuple(asked)
    size = picture_size(model)
    if data.shape is None and size is not None:
        return (1, 3, *size)
    if data.shape is None:
        raise DataError(
            f'data {configuration["data.source"]!r}: its inputs are not tensors, so their size is unknown; give the size '
            'for counting MACs by --input, such as --input 1 3 224 224'
        )
    return (1, *data.shape)


def _check_outputs(configuration: Configuration, data: Data, model: nn.Module, shape: tuple[int, ...]) -> None:
    name = configuration['model.name']
    parameter = next((each for each in model.parameters() if each.is_floating_point()), torch.empty(0))
    training = model.training
    try:
        with torch.no_grad(), seeded(configuration['seed']):
            output = main_output(model.eval()(torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)))
    except Exception as error:
        raise ModelSpecError(
            f'model {name!r}: does not take an input of the shape {shape} '
            f'({type(error).__name__}: {first_line(error, 160)}); data of its size, or its size by --input'
        ) from error
    finally:
        model.train(training)
    if (
        isinstance(output, torch.Tensor)
        and output.dim() == 2
        and (configuration['training.loss'] or data.loss or 'cross_entropy') in ('cross_entropy', data.loss)
    ):
        check_outputs(data, output.shape[1], configuration['data.source'], name)


def _function(spec: str | None, kind: str, names: tuple[str, ...]) -> Any:
    if spec is None or spec in names:
        return spec
    name = CodeName(spec, kind, ConfigurationError)
    if not name.is_one:
        allowed = f'{", ".join(names)} or ' if names else ''
        raise name.wrong(f'is no {kind}', f'give {allowed}package.module:function or file.py:function')
    found = name.find()
    try:
        return found() if isinstance(found, type) else found
    except Exception as error:
        raise name.failed('calling it', error) from error
