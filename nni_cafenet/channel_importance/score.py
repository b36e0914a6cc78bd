"""Channel importance: one number per channel, summed over the layers of its group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from ..space import WidthSpace
from .data_scores import DATA_RULES, Loss, add_activations, add_taylor
from .score_sum import NORMALIZATIONS, ScoreSum, structures
from .weights import as_double, consumer_weights, norm_scales, producer_weights

__all__ = ['Rule', 'check_rule', 'importance', 'needs_data']

ElementRule = Callable[[str, Tensor], Tensor]
"""``(name, weight) -> scores`` of the weight's shape."""
Rule = str | ElementRule

_RULES = ('l1', 'l2', 'bn', 'group', *DATA_RULES)


def importance(
    space: WidthSpace,
    rule: Rule = 'l1',
    *,
    normalize: str | None = None,
    batches: Iterable[Any] | None = None,
    loss: Loss | None = None,
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
        - ``'activation'``: its mean absolute activation at the convolutions and linear layers that read it, averaged over
          batches; ``'l1'`` for groups that none of these read;
        - ``'wanda'``: the absolute weights of these layers times the root mean square of the activation (Sun et al. 2024,
          summed over a channel: our reading); ``'l1'`` as above;
        - a callable ``(name, weight) -> scores of the weight's shape``, summed over the channel's filters.
    normalize
        What a layer's scores are divided by before they are summed over the layers of a group:

        - ``'layer'`` (default, except for ``'taylor'``): their mean over the group, so that all layers have equal weight.
          The scale of weights is arbitrary before a normalization, and depends on the fan-in otherwise. Our choice;
        - ``'isomorphic'``: their mean over all groups of equal structure (types of layers, kernels, and how often a channel
          occurs, whatever the sizes), so that scores also compare these groups with each other. Our reading of isomorphic
          pruning (Fang et al. 2024), which ranks channels within such groups only;
        - ``'none'`` (default for ``'taylor'``): nothing.
    batches
        For ``'taylor'``, ``'activation'`` and ``'wanda'``: batches for ``loss``, on the model's device.
    loss
        For the same: ``(model, batch) -> loss``, for ``'taylor'`` a differentiable tensor with one element. The model's
        mode is unchanged; call ``space.eval()`` first to use running statistics.

    Returns
    -------
    ``{label: float64 tensor of shape (full width,)}`` on the CPU. Scores are comparable within a group only, with
    ``'isomorphic'`` also between groups of equal structure. Those of ``'taylor'`` are in units of the loss and comparable
    everywhere; the others have no unit.

    Raises
    ------
    ValueError
        If rule or normalization is unknown, an argument is missing or belongs to another rule, weights are on the meta
        device or not finite, or the loss does not depend on them.
    TypeError
        If ``rule`` is neither a name nor callable, or does not return a tensor of the weight's shape.

    Notes
    -----
    Biases are ignored. Parametrized weights are scored by their effective values if these have the parameter's shape.
    """
    _check(rule, normalize, batches, loss)
    _check_values(space.full_model)
    if normalize is None:
        normalize = 'none' if rule == 'taylor' else 'layer'
    structure = structures(space.full_model, space.graph) if normalize == 'isomorphic' else {}

    def scores() -> ScoreSum:
        return ScoreSum(space.graph, normalize, structure)

    if needs_data(rule):
        found = scores()
        if rule == 'taylor':
            count = add_taylor(found, space, batches, loss)  # type: ignore[arg-type]
        else:
            count = add_activations(found, space, batches, loss, weighted=rule == 'wanda')  # type: ignore[arg-type]
        total = _checked_total(found.total(count), rule, count)
        return total if rule == 'taylor' else _or_else(total, lambda: _of_weights(scores(), space, 'l1'))
    if rule == 'bn':
        found = scores()
        for name, axis, scale in norm_scales(space.full_model, space.graph):
            found.add(name, axis, as_double(scale).abs())
        return _or_else(found.total(), lambda: _of_weights(scores(), space, 'l1'))
    return _of_weights(scores(), space, rule)


def needs_data(rule: Any) -> bool:
    """Whether a rule needs batches of data."""
    return rule in DATA_RULES


def _or_else(total: dict[str, Tensor], others: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return scores; for groups that have none, others."""
    if all(bool(each.any()) for each in total.values()):
        return total
    instead = others()
    return {label: each if each.any() else instead[label] for label, each in total.items()}


def _of_weights(found: ScoreSum, space: WidthSpace, rule: Rule) -> dict[str, Tensor]:
    model, graph = space.full_model, space.graph
    if rule == 'group':
        for weights in (producer_weights(model, graph), norm_scales(model, graph), consumer_weights(model, graph)):
            for name, axis, weight in weights:
                found.add(name, axis, as_double(weight).square())
        return found.total()
    for name, axis, weight in producer_weights(model, graph):
        if callable(rule):
            found.add(name, axis, _checked(rule(name, weight), name, weight))
        elif rule == 'l2':
            found.add(name, axis, as_double(weight).square(), root=True)
        else:
            found.add(name, axis, as_double(weight).abs())
    return found.total()


def _checked_total(total: dict[str, Tensor], rule: Any, count: int) -> dict[str, Tensor]:
    of = 'the gradient of loss' if rule == 'taylor' else 'what layers read'
    if count == 0:
        raise ValueError(f'batches is empty: rule={rule!r} needs {of} on one batch or more.')
    if not all(bool(scores.isfinite().all()) for scores in total.values()):
        what = 'gradients' if rule == 'taylor' else 'activations'
        raise ValueError(f'loss has {what} that are not finite on these batches. Check the loss and the batches.')
    if not any(bool(scores.any()) for scores in total.values()):
        raise ValueError(f'{of} is zero on these batches: channels cannot be ranked. Give other batches.')
    return total


def check_rule(rule: Any, argument: str = 'importance') -> None:
    """Validate a rule; ``None`` is valid for `nni_cafenet.prune` only."""
    if (rule is None and argument == 'importance') or callable(rule) or rule in _RULES:
        return
    error = ValueError if isinstance(rule, str) else TypeError
    raise error(f'{argument}={rule!r} must be one of {", ".join(_RULES)}, or a callable (name, weight) -> numbers.')


def _check(rule: Any, normalize: Any, batches: Any, loss: Any) -> None:
    check_rule(rule, 'rule')
    if normalize is not None and normalize not in NORMALIZATIONS:
        raise ValueError(f'normalize={normalize!r} must be one of {", ".join(NORMALIZATIONS)}, or None.')
    data = ', '.join(map(repr, DATA_RULES))
    for name, value in (('batches', batches), ('loss', loss)):
        if needs_data(rule) and value is None:
            raise ValueError(f'rule={rule!r} needs {name}: importance(space, {rule!r}, batches=..., loss=...).')
        if not needs_data(rule) and value is not None:
            raise ValueError(f'{name} is for rules that need data ({data}); rule={rule!r} uses the weights only.')


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
    return as_double(scores)
