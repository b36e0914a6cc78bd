"""Channel importance: one number per channel, summed over its producers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..graph import ChannelGraph
from ..slicing import Selection, using_attributes, using_mode
from ..space import WidthSpace

__all__ = ['Loss', 'Rule', 'check_rule', 'importance']

ElementRule = Callable[[str, Tensor], Tensor]
"""``(name, weight) -> scores`` of the weight's shape."""
Rule = str | ElementRule
Loss = Callable[[nn.Module, Any], Tensor]
"""``(model, batch) -> loss``, a tensor with one element."""

_RULES = ('l1', 'l2', 'bn', 'group', 'taylor')


def importance(
    space: WidthSpace, rule: Rule = 'l1', *, batches: Iterable[Any] | None = None, loss: Loss | None = None
) -> dict[str, Tensor]:
    """Compute the importance of each channel of every group.

    Scores are summed over all producers of a group (layers joined by residual connections, depthwise convolutions, gates,
    attention) and over all filters of a channel in a layer (grouped convolutions, heads).

    Parameters
    ----------
    space
        The space, with trained weights. It is not modified.
    rule
        The score of a channel in each layer:

        - ``'l1'`` (default): the sum of the absolute values of its filters;
        - ``'l2'``: their Euclidean norm;
        - ``'bn'``: the absolute scale in every normalization of the group; ``'l1'`` for groups without one;
        - ``'group'``: the sum of squares of all weights removed with the channel: its filters, its normalization scales,
          and its input weights in the consumers (Torch-Pruning's group magnitude);
        - ``'taylor'``: the sum of ``|weight * gradient|`` over its filters, averaged over batches: a first-order estimate
          of the change in loss on removal;
        - a callable ``(name, weight) -> scores of the weight's shape``, summed over the channel's filters.
    batches
        For ``'taylor'``: batches for ``loss``, on the model's device.
    loss
        For ``'taylor'``: ``(model, batch) -> loss``, a differentiable tensor with one element. The model's mode is
        unchanged; call ``space.eval()`` first to use running statistics.

    Returns
    -------
    ``{label: float64 tensor of shape (full width,)}`` on the CPU. Scores are comparable within a group only. ``'taylor'``
    is in units of the loss; the others have no unit.

    Raises
    ------
    ValueError
        If the rule is unknown, an argument is missing or belongs to another rule, weights are on the meta device or not
        finite, or the loss does not depend on them.
    TypeError
        If ``rule`` is neither a name nor callable, or does not return a tensor of the weight's shape.

    Notes
    -----
    Our choices: each layer's scores are divided by their mean over the group, so that all layers have equal weight (the
    scale of weights is arbitrary before a normalization, and depends on the fan-in otherwise). ``'taylor'`` is not
    normalized. Biases are ignored. Parametrized weights are scored by their effective values if these have the
    parameter's shape.
    """
    _check(rule, batches, loss)
    model, graph = space.full_model, space.graph
    _check_values(model)
    if rule == 'taylor':
        return _taylor(space, batches, loss)  # type: ignore[arg-type]
    made = _ScoreSum(graph)
    if rule == 'group':
        for name, axis, weight in [
            *_producer_weights(model, graph),
            *_scales(model, graph),
            *_consumer_weights(model, graph),
        ]:
            made.add(name, axis, _double(weight).square())
        return made.total
    for name, axis, weight in _producer_weights(model, graph):
        if callable(rule):
            made.add(name, axis, _checked(rule(name, weight), name, weight))
        elif rule == 'l2':
            made.add(name, axis, _double(weight).square(), root=True)
        else:
            made.add(name, axis, _double(weight).abs())
    if rule != 'bn':
        return made.total
    scales = _ScoreSum(graph)
    for name, axis, scale in _scales(model, graph):
        scales.add(name, axis, _double(scale).abs())
    return {label: total if total.any() else made.total[label] for label, total in scales.total.items()}


class _ScoreSum:
    """Accumulates channel scores over layers."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph = graph
        self.total = {group.label: torch.zeros(group.width, dtype=torch.float64) for group in graph.groups}

    def add(self, name: str, axis: int, scores: Tensor, *, root: bool = False, normalize: bool = True) -> None:
        """Add a weight's element scores, summed over all axes but ``axis``.

        ``root`` takes the square root of a channel's sum, ``normalize`` divides by the mean over the group.
        """
        layout = self._graph.layouts[self._graph.dims[name][axis]]  # type: ignore[index]
        others = [other for other in range(scores.dim()) if other != axis]
        at_position = (scores.sum(others) if others else scores).cpu()
        for number in np.unique(layout.groups[layout.groups >= 0]).tolist():
            group, own = self._graph.groups[number], torch.from_numpy(layout.groups == number)
            channels = torch.from_numpy(layout.channels)[own]
            share = torch.zeros(group.width, dtype=torch.float64).index_add_(0, channels, at_position[own])
            share = share.sqrt() if root else share
            mean = float(share.abs().mean())
            self.total[group.label] += share / mean if normalize and mean > 0 else share


def _producer_parameters(model: nn.Module, graph: ChannelGraph) -> list[tuple[str, int, nn.Parameter]]:
    """Return the parameters that produce channels of groups, with the channel axis."""
    own = dict(model.named_parameters())
    made = [(name, axis) for name, axis in graph.produced if name in own and name in graph.dims]
    return [(name, axis, own[name]) for name, axis in made if graph.dims[name][axis] is not None]


def _producer_weights(model: nn.Module, graph: ChannelGraph) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the weights that produce channels, with the channel axis; effective values of parametrized ones."""
    modules = dict(model.named_modules())
    for name, axis, parameter in _producer_parameters(model, graph):
        weight: Tensor = parameter
        layer, _, leaf = f'.{name}'.partition('.parametrizations.')
        if leaf:
            with using_mode(model, training=False), torch.no_grad():
                effective = getattr(modules[layer[1:]], leaf.partition('.')[0])
            weight = effective if effective.shape == weight.shape else weight
        yield name, axis, weight.detach()


def _scales(model: nn.Module, graph: ChannelGraph) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the scales of normalizations, with each channel axis."""
    modules, made = dict(model.named_modules()), {name for name, _ in graph.produced}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        layer, _, leaf = name.rpartition('.')
        if leaf == 'weight' and name not in made and 'norm' in type(modules[layer]).__name__.lower():
            for axis, index in enumerate(graph.dims.get(name, ())):
                if index is not None:
                    yield name, axis, tensor.detach()


def _consumer_weights(model: nn.Module, graph: ChannelGraph) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the weights that consume channels, with each channel axis."""
    made = set(graph.produced)
    for name, parameter in model.named_parameters():
        for axis, index in enumerate(graph.dims.get(name, ())):
            if index is not None and parameter.dim() > 1 and (name, axis) not in made:
                yield name, axis, parameter.detach()


def _taylor(space: WidthSpace, batches: Iterable[Any], loss: Loss) -> dict[str, Tensor]:
    model, graph = space.full_model, space.graph
    made = _producer_parameters(model, graph)
    weights = {name: weight for name, _, weight in made}
    found = _ScoreSum(graph)
    count = 0
    with _differentiable(space, weights.values()), torch.enable_grad():
        for batch in batches:
            value = loss(model, batch)
            gradients = dict(zip(weights, _gradients(value, list(weights.values()))))
            for name, axis, weight in made:
                gradient = gradients[name]
                if gradient is not None:
                    found.add(name, axis, (_double(weight) * _double(gradient)).abs(), normalize=False)
            count += 1
    if count == 0:
        raise ValueError("batches is empty: rule='taylor' needs the gradient of the loss on one batch or more.")
    total = {label: scores / count for label, scores in found.total.items()}
    if not all(bool(scores.isfinite().all()) for scores in total.values()):
        raise ValueError('loss has gradients that are not finite on these batches. Check the loss and the batches.')
    if not any(bool(scores.any()) for scores in total.values()):
        raise ValueError(
            'the gradient of loss is zero on these batches: channels cannot be ranked. Give other batches.'
        )
    return total


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
def _differentiable(space: WidthSpace, weights: Iterable[Tensor]) -> Iterator[None]:
    """Enable gradients of frozen weights at full widths; restore buffers on exit."""
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


def _double(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    tensor = tensor.abs() if tensor.is_complex() else tensor
    return (tensor.cpu() if tensor.device.type == 'mps' else tensor).double()


def check_rule(rule: Any, argument: str = 'importance') -> None:
    """Validate a rule; ``None`` is valid for `nni_cafenet.prune` only."""
    if (rule is None and argument == 'importance') or callable(rule) or rule in _RULES:
        return
    error = ValueError if isinstance(rule, str) else TypeError
    raise error(f'{argument}={rule!r} must be one of {", ".join(_RULES)}, or a callable (name, weight) -> numbers.')


def _check(rule: Any, batches: Any, loss: Any) -> None:
    check_rule(rule, 'rule')
    for name, value in (('batches', batches), ('loss', loss)):
        if rule == 'taylor' and value is None:
            raise ValueError(f"rule='taylor' needs {name}: importance(space, 'taylor', batches=..., loss=...).")
        if rule != 'taylor' and value is not None:
            raise ValueError(f"{name} is for rule='taylor'; rule={rule!r} uses the weights only.")


def _check_values(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise ValueError(f'{name} is on the meta device, without values. Load the trained weights first.')
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            raise ValueError(f'{name} has values that are not finite: channels cannot be ranked by them.')


def _checked(scores: Any, name: str, weight: Tensor) -> Tensor:
    if not isinstance(scores, Tensor) or scores.shape != weight.shape:
        what = f'shape {tuple(scores.shape)}' if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f'rule gave {what} for {name}; it must give a tensor of shape {tuple(weight.shape)}.')
    if not bool(scores.isfinite().all()):
        raise ValueError(f'rule gave values for {name} that are not finite: channels cannot be ranked by them.')
    return _double(scores)
