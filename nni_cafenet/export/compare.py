"""Reference outputs on random inputs, and the largest difference of an exported model from them."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import TraceError, first_line
from ..graph import ExampleInput

__all__ = ['Sample', 'has_batch', 'largest_difference', 'on_cpu', 'samples_of', 'takes_any_batch', 'tolerance_of']


@dataclass(frozen=True)
class Sample:
    """Inputs, the output tensors of the model in order, and whether the batch is as large as the example's."""

    inputs: ExampleInput
    outputs: list[Tensor]
    of_example_size: bool


def on_cpu(model: nn.Module, example: Any) -> tuple[nn.Module, ExampleInput]:
    """Return a copy of a model in evaluation mode, and its example input, both on the CPU.

    Raises TypeError for anything but a module with an example input, ValueError for a model on the meta device, and
    TraceError if the model rejects the example.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'slim must be a torch.nn.Module, not {type(model).__name__}')
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise ValueError('slim is on the meta device, where tensors have no values: load its weights before')
    model = copy.deepcopy(model).cpu().eval()
    inputs = ExampleInput.of(example, model).map(lambda tensor: tensor.detach().cpu())
    try:
        call = inspect.signature(model.forward).bind(*inputs.args, **inputs.kwargs)
        inputs = ExampleInput(call.args, call.kwargs)  # by position if possible: exporters keep that order
        _outputs(model, inputs)
    except Exception as error:
        raise TraceError(
            f'example_input ({inputs.describe()}) is rejected by the model {type(model).__name__}: '
            f'{type(error).__name__}: {first_line(error)}. Give an input that model(example_input) accepts.'
        ) from error
    return model, inputs


def samples_of(model: nn.Module, example: ExampleInput) -> list[Sample]:
    """Return the example and random inputs of its kind, one of them a larger batch, with the model's outputs.

    The entries of a random tensor are drawn from those of the example, so indices stay valid and pictures stay in their
    range; if all are the same real number, normal values are added. Inputs that the model rejects are left out.
    """
    generator = torch.Generator().manual_seed(0)
    samples = [Sample(example, _outputs(model, example), of_example_size=True)]
    larger = example.batch_size + 2
    tries = [(example.map(lambda tensor: _drawn(tensor, generator)), True) for _ in range(2)]
    tries.append((example.map(lambda tensor: _drawn(_repeated(tensor, example.batch_size, larger), generator)), False))
    for inputs, of_example_size in tries:
        try:
            samples.append(Sample(inputs, _outputs(model, inputs), of_example_size))
        except Exception:  # noqa: BLE001 - the user's code may raise anything
            continue
    return samples


def takes_any_batch(example: ExampleInput, samples: Sequence[Sample]) -> bool:
    """Return whether the model accepted a batch of another size than the example's."""
    batched = any(has_batch(tensor, example.batch_size) for tensor in example.tensors())
    return batched and any(not sample.of_example_size for sample in samples)


def largest_difference(run: Callable[[ExampleInput], Sequence[Tensor]], samples: Sequence[Sample]) -> float:
    """Return the largest difference from the samples' outputs, as a share of the largest value in that output tensor.

    It is infinite if the number of tensors, a shape, a whole number or a non-finite value differs.
    """
    largest = 0.0
    for sample in samples:
        found = list(run(sample.inputs))
        if len(found) != len(sample.outputs):
            return math.inf
        largest = max([largest, *(_difference(ours, theirs) for ours, theirs in zip(sample.outputs, found))])
    return largest


def tolerance_of(model: nn.Module) -> float:
    """Return the tolerance for rounding differences: 1e-4, or 1e-2 in half precision."""
    half = any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in model.parameters())
    return 1e-2 if half else 1e-4


def _outputs(model: nn.Module, inputs: ExampleInput) -> list[Tensor]:
    fresh = inputs.fresh()  # a model may write into its inputs
    with torch.no_grad():
        output = model(*fresh.args, **fresh.kwargs)
    return [leaf.clone() for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return math.inf
    if not ours.is_floating_point():
        return 0.0 if torch.equal(ours, theirs.to(ours.dtype)) else math.inf
    ours, theirs = ours.double(), theirs.double()
    finite = ours.isfinite()
    if not torch.equal(finite, theirs.isfinite()):
        return math.inf
    if not torch.equal(ours[~finite].nan_to_num(), theirs[~finite].nan_to_num()):
        return math.inf
    ours, theirs = ours[finite], theirs[finite]
    if not ours.numel():
        return 0.0
    apart = float((ours - theirs).abs().max())
    largest = float(ours.abs().max())
    return apart / largest if largest else apart


def _drawn(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """A tensor of the same shape, each entry drawn from those of the tensor."""
    if not tensor.numel():
        return tensor
    values = tensor.flatten()
    drawn = values[torch.randint(values.numel(), tensor.shape, generator=generator)]
    if tensor.is_floating_point() and bool((values == values[0]).all()):
        drawn = drawn + torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
    return drawn


def _repeated(tensor: Tensor, batch_size: int, larger: int) -> Tensor:
    """A larger batch of the same samples; values without a batch dimension are unchanged."""
    if not has_batch(tensor, batch_size):
        return tensor
    return tensor[torch.arange(larger) % batch_size]


def has_batch(tensor: Tensor, batch_size: int) -> bool:
    """Whether dimension 0 of an input may be the batch."""
    return tensor.dim() > 0 and tensor.shape[0] == batch_size
