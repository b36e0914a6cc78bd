"""Channel importance from data: gradients of the loss, and activations, over a few batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..graph import ChannelGraph
from ..slicing import Selection, using_attributes
from ..space import WidthSpace
from ..utils import ConvNd
from .score_sum import ScoreSum
from .weights import as_double, consumer_weights, producer_parameters

__all__ = ['DATA_RULES', 'Loss', 'add_activations', 'add_taylor']

Loss = Callable[[nn.Module, Any], Tensor]
"""``(model, batch) -> loss``, a tensor with one element."""

DATA_RULES = ('taylor', 'activation', 'wanda')


def add_taylor(found: ScoreSum, space: WidthSpace, batches: Iterable[Any], loss: Loss) -> int:
    """Add ``|weight * gradient|`` of each producer and batch; return the number of batches."""
    made = producer_parameters(space.full_model, space.graph)
    weights = {name: weight for name, _, weight in made}
    count = 0
    with _at_full_width(space, weights.values()), torch.enable_grad():
        for batch in batches:
            value = loss(space.full_model, batch)
            gradients = dict(zip(weights, _gradients(value, list(weights.values()))))
            for name, axis, weight in made:
                gradient = gradients[name]
                if gradient is not None:
                    found.add(name, axis, (as_double(weight) * as_double(gradient)).abs())
            count += 1
    return count


def add_activations(found: ScoreSum, space: WidthSpace, batches: Iterable[Any], loss: Loss, *, weighted: bool) -> int:
    """Add what each channel gives to the layers that read it, batch by batch; return the number of batches.

    It is the mean absolute activation, or if ``weighted`` its root mean square times the absolute weights of the channel.
    """
    seen: dict[str, list[Tensor]] = {}
    readers = _readers(space.full_model, space.graph)

    def note(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0] if inputs else None
        if isinstance(x, Tensor):
            axis = x.dim() - 1 if isinstance(layer, nn.Linear) else x.dim() - layer.weight.dim() + 1  # type: ignore[operator, union-attr]
            others = [other for other in range(x.dim()) if other != axis]
            numbers = as_double(x)
            mean = numbers.square().mean(others).sqrt() if weighted else numbers.abs().mean(others)
            seen.setdefault(name, []).append(mean.cpu())

    count = 0
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs, name=name: note(name, module, inputs))
        for name, (_, layer) in readers.items()
    ]
    try:
        with _at_full_width(space, ()), torch.no_grad():
            for batch in batches:
                loss(space.full_model, batch)
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    for name, (axis, layer) in readers.items():
        weight = as_double(layer.weight).abs().cpu()  # type: ignore[arg-type]
        factor = weight.sum([other for other in range(weight.dim()) if other != axis])
        for mean in seen.get(name, ()):
            if mean.shape == factor.shape:
                found.add_positions(name, axis, mean * factor if weighted else mean)
    return count


def _readers(model: nn.Module, graph: ChannelGraph) -> Mapping[str, tuple[int, nn.Module]]:
    """Return the convolutions and linear layers that consume channels, by weight, with the axis of their inputs."""
    modules = dict(model.named_modules())
    found = {}
    for name, axis, _ in consumer_weights(model, graph):
        layer, _, leaf = name.rpartition('.')
        if leaf == 'weight' and isinstance(modules[layer], (nn.Linear, ConvNd)):
            found[name] = axis, modules[layer]
    return found


def _gradients(value: Any, weights: list[Tensor]) -> tuple[Tensor | None, ...]:
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f'a tensor of shape {tuple(value.shape)}' if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f'loss returned {what}: it must return a tensor with one element, such as the mean of the batch.'
        )
    if not value.requires_grad:
        raise ValueError(
            'loss returned a tensor that does not depend on the weights. Compute it from model(...), without no_grad, '
            'inference_mode, detach() or item().'
        )
    gradients = torch.autograd.grad(value.sum(), weights, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise ValueError('loss does not depend on any weight that produces channels. Compute it from model(batch).')
    return gradients


@contextlib.contextmanager
def _at_full_width(space: WidthSpace, weights: Iterable[Tensor]) -> Iterator[None]:
    """Run the model at full widths, with gradients of these weights also if frozen; restore buffers on exit."""
    model = space.full_model
    frozen = [weight for weight in weights if not weight.requires_grad]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        with using_attributes(model, Selection(space.graph, {}).attributes(model)):
            yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
        with torch.no_grad():
            for buffer, values in buffers:
                if not torch.equal(buffer, values):
                    buffer.copy_(values)
