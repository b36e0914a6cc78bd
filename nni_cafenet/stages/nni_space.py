"""The width space of an NNI model space: its example input is what the evaluator's first batch gives the model."""

from __future__ import annotations

from typing import Any

from nni.mutable import Mutable
from nni.nas.evaluator.pytorch import Lightning
from torch import Tensor, nn

from ..errors import first_line
from ..graph import ExampleInput
from ..space import WidthSpace, full_network, has_choices
from ..utils import map_tensors, pass_on, tensors_in
from .evaluator_factory import EvaluatorFactory
from .first_batch import run_first_batches

__all__ = ['width_space_of']

_GIVE = 'Give it: WidthMutator().mutate(space, example_input=...), and use the space that this returns.'


def width_space_of(space: Any, evaluator: Any, *, travels: bool) -> Any:
    """Return the width space of an NNI space whose choices are widths; a width space, or one without choices, as it is.

    Parameters
    ----------
    space
        The space.
    evaluator
        The evaluator, which does not change: a copy trains a batch.
    travels
        Whether the width space is made by the constructor call of the space, so that it can be sent to trials.

    Raises
    ------
    TypeError
        If the space has choices that are no widths, or the evaluator does not show the input of the model.
    nni_cafenet.errors.FirstBatchError
        If the evaluator's first batch fails.
    """
    if isinstance(space, WidthSpace) or not has_choices(space):
        return space
    full = full_network(space)
    if isinstance(evaluator, Mutable) and evaluator.simplify():
        evaluator = evaluator.default().get()  # which of its choices are taken does not matter for the input
    if not isinstance(evaluator, Lightning):
        raise TypeError(f'{type(evaluator).__name__} does not show the input of {type(space).__name__}. {_GIVE}')
    example = _first_call(evaluator, full)
    if travels:
        return WidthSpace(type(space), space.trace_args, space.trace_kwargs, example_input=example)
    return WidthSpace(space, example_input=example)


def _first_call(evaluator: Lightning, model: nn.Module) -> Any:
    """Return the arguments of the first call of a model in training, as an example input."""
    calls = list[tuple[Any, Any]]()

    def record(module: nn.Module, args: Any, kwargs: Any) -> None:
        if not calls:
            calls.append(map_tensors(lambda tensor: tensor.detach().cpu().clone(), (args, kwargs)))

    try:
        evaluators = EvaluatorFactory(evaluator)
    except Exception as error:
        pass_on(error)
        raise TypeError(
            f'The evaluator cannot be copied ({first_line(error)}) to see the input of the model. {_GIVE}'
        ) from error
    handle = model.register_forward_pre_hook(record, with_kwargs=True)
    try:
        run_first_batches(evaluators, lambda: model)
    finally:
        handle.remove()
    if not calls:
        raise TypeError(f'The first batch of the evaluator does not show the input of the NNI model space. {_GIVE}')
    return _small(*calls[0])


def _small(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a call with at most two samples; a single picture as its shape."""
    tensors = tensors_in((args, kwargs))
    sizes = {tensor.shape[:1] for tensor in tensors}
    if len(sizes) == 1 and tensors[0].dim() > 0:
        args, kwargs = map_tensors(lambda tensor: tensor[:2].clone(), (args, kwargs))
    if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and args[0].is_floating_point():
        return tuple(args[0].shape)
    return ExampleInput(args, kwargs)
