"""What is checked before a model is pruned: the model, the data, the evaluator, the folder."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..analysis import bare_model
from ..errors import FolderError
from ..graph import ExampleInput
from ..options import TrainingRecipe
from ..space import norms_held_in_eval, refuse_choices
from ..stages import JOB_RECORD, new_run_path
from ..supernet import check_evaluator
from ..utils import absolute_path, is_temporary_file, seeded, tensors_in
from .losses import name_of, shape_of
from .objective import Task
from .trainer_options import TrainerOptions

__all__ = [
    'RECORD',
    'check_data',
    'check_given',
    'check_optimizer',
    'check_score',
    'check_trainable',
    'fingerprint',
    'first_batch',
    'on_cpu',
    'plain_copy',
    'run_folder',
    'task_of',
]

RECORD = 'prune.json'
"""What a folder of a pruning run is known by."""


def plain_copy(model: Any) -> tuple[nn.Module, frozenset[str]]:
    """Return a copy of a trained model on the CPU, in evaluation mode, without wrappers; refuse what cannot be trained.

    Also return the batch normalizations that its user holds in evaluation mode.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'model={model!r} must be a trained torch.nn.Module.')
    model = bare_model(model)
    refuse_choices(model)
    tensors = dict(model.named_parameters())
    meta = next((name for name, tensor in tensors.items() if tensor.is_meta), None)
    if meta is not None:
        raise ValueError(f'model: {meta} is on the meta device, without values. Load the trained weights first.')
    half = next((name for name, tensor in tensors.items() if tensor.dtype in (torch.float16, torch.bfloat16)), None)
    if half is not None:
        raise ValueError(
            f'model: {half} is {_word(tensors[half].dtype)}, too coarse to train in. Give model.float(); precision='
            "'16-mixed' or 'bf16-mixed' then computes in half precision."
        )
    bare: nn.Module = copy.deepcopy(model).cpu()
    held = norms_held_in_eval(bare)
    return bare.eval(), held


def on_cpu(example: Any) -> Any:
    """Return an example input with its tensors on the CPU."""
    if isinstance(example, Tensor):
        return example.detach().cpu()
    if isinstance(example, Mapping):
        return {key: on_cpu(value) for key, value in example.items()}
    if isinstance(example, (tuple, list)) and not isinstance(example, torch.Size):
        return type(example)(on_cpu(value) for value in example)
    return example


def first_batch(loader: Any, seed: int, source: str = 'train') -> Any:
    """Return a batch of the data that an argument gives."""
    if isinstance(loader, Dataset):
        raise TypeError(f'{source}: is a data set. Give a loader of it: DataLoader({source}, batch_size=64).')
    with seeded(seed):
        batch = next(iter(loader), None)
    if batch is None:
        raise ValueError(f'{source}: the loader yields no batch. Is it empty, or drop_last set with too few samples?')
    return batch


def check_trainable(model: nn.Module) -> None:
    """Refuse a model without anything to train."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            'model: all of its parameters are frozen (requires_grad=False), so that no width of it can be trained. Give '
            'model.requires_grad_(True).'
        )


def check_optimizer(optimizer: Any, model: nn.Module) -> None:
    """Refuse what makes no optimizer of the parameters of a model."""
    if optimizer is None:
        return
    remedy = (
        'It must make an optimizer of some parameters, such as lambda parameters: torch.optim.SGD(parameters, lr=0.1).'
    )
    if not callable(optimizer):
        raise TypeError(f'optimizer: a {type(optimizer).__name__} cannot be called. {remedy}')
    made = optimizer([each for each in model.parameters() if each.requires_grad])
    if not isinstance(made, torch.optim.Optimizer):
        raise TypeError(f'optimizer: {name_of(optimizer)} returned {shape_of(made)}. {remedy}')


def check_score(score: Any, task: Task) -> None:
    """Refuse a score that validation does not log."""
    known = ['loss', 'val_loss', *(f'val_{name}' for name in task.metrics)]
    if score not in known:
        raise ValueError(f'score={score!r} must be one of {", ".join(dict.fromkeys(known))}.')


def task_of(
    loss: Any,
    metric: Any,
    model: nn.Module,
    train: Any,
    validate: Any,
    *,
    example: ExampleInput | None = None,
    recipe: TrainingRecipe | None = None,
    seed: int,
) -> Task:
    """Return the task of some data, after checking a batch of each part; for ``loss`` and ``metric``, see `prune`.

    Without an example input, the training data may have any size. Raises ValueError or TypeError if the data, the
    model, the loss, the metrics and the recipe do not fit each other.
    """
    if train is None:
        raise ValueError('train=None: give a loader of training data, or an evaluator.')
    if validate is None:
        raise ValueError('validate=None: give a loader of validation data. It plays no part in the search.')
    batch = first_batch(train, seed)
    if example is not None:
        check_data(model, example, batch)
    task = Task.of(loss, metric, model, batch)
    if recipe is not None:
        task.check_recipe(recipe, batch)
    task.check(model, first_batch(validate, seed, 'validate'), 'validate')
    return task


def check_data(model: nn.Module, example: ExampleInput, batch: Any) -> None:
    """Refuse data of another dtype than the model, or of another size than the example."""
    if not isinstance(batch, (tuple, list)) or not isinstance(batch[0], Tensor):
        return
    inputs = batch[0]
    dtypes = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    if inputs.is_floating_point() and dtypes and inputs.dtype not in dtypes:
        wanted = _word(next(iter(dtypes)))
        raise ValueError(
            f'train: the loader yields {_word(inputs.dtype)} inputs, but the model is {wanted}. Convert the data, or give '
            f'model.to(torch.{_word(inputs.dtype)}).'
        )
    shown = tensors_in((example.args, example.kwargs))
    if len(shown) == 1 and shown[0].shape[1:] != inputs.shape[1:]:
        raise ValueError(
            f'train: the loader yields inputs of shape {tuple(inputs.shape[1:])}, but example_input has '
            f'{tuple(shown[0].shape[1:])} (without the batch). MACs are counted for the example: give '
            f'example_input={(1, *inputs.shape[1:])}, or data of the other size.'
        )


def check_given(evaluator: Any, given: set[str], trainer: TrainerOptions) -> None:
    """Refuse an evaluator that cannot train, and arguments that it takes the place of."""
    check_evaluator(evaluator)
    if given:
        raise ValueError(
            f'{", ".join(sorted(given))}: given beside evaluator, which has its own. Leave one of them out.'
        )
    if trainer != TrainerOptions():
        raise ValueError(
            "device, devices, nodes, strategy and precision are those of the evaluator's trainer: set them there."
        )


def run_folder(directory: str | Path | None) -> Path:
    """Return the folder of a run: a new one, or one that holds nothing but a run."""
    if directory is None:
        return absolute_path(new_run_path('.'))
    folder = absolute_path(directory)
    ours = any((folder / record).exists() for record in (RECORD, JOB_RECORD))
    if folder.is_dir() and not ours and not all(map(is_temporary_file, folder.iterdir())):
        raise FolderError(
            f'directory={str(folder)!r} is not empty and holds no run that could be resumed. Give another one, or empty it.'
        )
    if folder.exists() and not folder.is_dir():
        raise FolderError(f'directory={str(folder)!r} is a file. Give a folder.')
    return folder


def fingerprint(model: nn.Module) -> str:
    """Return a hash of a model's weights: a run is resumed with the network that it was started with."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}'.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _word(dtype: torch.dtype) -> str:
    return str(dtype).replace('torch.', '')
