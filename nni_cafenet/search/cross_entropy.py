"""Detect losses that are a cross-entropy of the model's output, from values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils._pytree import tree_unflatten

from .model_outputs import Logits, floating_leaves, recorded_outputs, replayed_outputs

__all__ = ['find_logits']

_PROBES = 4
_SPREAD = 1.5
"""Standard deviation of the random outputs on which a loss is probed: neither flat nor saturated."""


def find_logits(model: nn.Module, loss: Callable[[], Tensor | None]) -> Logits | str:
    """Return where the logits of a cross-entropy are in the model's outputs, or why the loss is not one.

    The model runs once, on real inputs; then its outputs are replaced by random numbers, and ``loss``, which repeats a
    step on one batch with the same random numbers, must give a value and gradient for each of them. With ``p =
    softmax(z)`` along a dimension, or ``p = sigmoid(z)``, these must be

        ``sum_i w_i (-sum_c q_ic log p_ic)``   with gradient   ``w_i (p_ic - q_ic)``

    for weights ``w_i >= 0`` and targets ``q_i`` that do not depend on ``z`` and are distributions. This finds class
    indices, pixels, tokens, soft labels, label smoothing, class weights, ``ignore_index``, multi-label losses
    (``binary_cross_entropy_with_logits``, with ``pos_weight``), auxiliary heads and several calls of the model,
    whatever functions compute them. It rejects losses with other terms, focal losses, hard mining, squares, and outputs
    that are probabilities.
    """
    with torch.no_grad(), recorded_outputs(model) as outputs:
        if loss() is None:
            return 'the step skips the first held-out batch'
    if not outputs:
        return 'the step does not call the model as a whole'
    probes = []
    for number in range(_PROBES):
        probe = _Probe.of(model, outputs, loss, number)
        if isinstance(probe, str):
            return probe
        probes.append(probe)
    used = [place for place in probes[0].values if any(bool(probe.gradients[place].any()) for probe in probes)]
    if not used:
        return 'the loss does not depend on the output of the model'
    left = [probe.loss for probe in probes]
    for place in used:
        values, gradients = [p.values[place] for p in probes], [p.gradients[place] for p in probes]
        terms = _cross_entropy(values, gradients, probes[0].tolerance)
        if terms is None:
            return "the loss is not the cross-entropy of the model's output"
        left = [rest - term for rest, term in zip(left, terms)]
    scale = max(abs(probe.loss) for probe in probes)
    if max(map(abs, left)) > probes[0].tolerance * scale:
        return "the loss has other terms than the cross-entropy of the model's output"
    return Logits(frozenset(used), tuple(len(floating_leaves(output)[0]) for output in outputs))


@dataclass(frozen=True)
class _Probe:
    """A loss at random outputs of the model, and its gradients there; by ``(call, leaf)``."""

    loss: float
    values: dict[tuple[int, int], Tensor]
    gradients: dict[tuple[int, int], Tensor]
    tolerance: float

    @classmethod
    def of(cls, model: nn.Module, outputs: Sequence[Any], loss: Callable[[], Tensor | None], seed: int) -> _Probe | str:
        generator = torch.Generator().manual_seed(seed)
        values: dict[tuple[int, int], Tensor] = {}
        replaced, tolerance = [], 1e-3
        for call, output in enumerate(outputs):
            leaves, structure, floating = floating_leaves(output)
            for index in floating:
                leaf = leaves[index]
                tolerance = max(tolerance, 8 * torch.finfo(leaf.dtype).eps)
                drawn = (_SPREAD * torch.randn(leaf.shape, generator=generator)).to(leaf)
                values[call, index] = drawn.requires_grad_()
                with torch.enable_grad():
                    leaves[index] = drawn.clone()  # the step may write into it
            replaced.append(tree_unflatten(leaves, structure))
        with torch.enable_grad(), replayed_outputs(model, replaced):
            value = loss()
        if value is None or not value.requires_grad or not values:
            return 'the loss does not depend on the output of the model'
        found = torch.autograd.grad(value, list(values.values()), allow_unused=True)
        gradients = {
            place: torch.zeros_like(z) if gradient is None else gradient
            for (place, z), gradient in zip(values.items(), found)
        }
        return cls(float(value.detach()), {place: z.detach() for place, z in values.items()}, gradients, tolerance)


def _cross_entropy(values: list[Tensor], gradients: list[Tensor], tolerance: float) -> list[float] | None:
    """Return the cross-entropy with these gradients at these values, or None."""
    kinds: list[int | None] = [dim for dim in (1, *range(values[0].dim())) if dim < values[0].dim()]
    kinds = [dim for dim in dict.fromkeys(kinds) if values[0].shape[dim or 0] > 1]
    z = [each.float() if each.dtype != torch.float64 else each for each in values]
    g = [each.to(like) for each, like in zip(gradients, z)]
    for dim in (*kinds, None):
        terms = _terms(z, g, dim, tolerance)
        if terms is not None:
            return terms
    return None


def _terms(z: list[Tensor], g: list[Tensor], dim: int | None, tolerance: float) -> list[float] | None:
    """`_cross_entropy` with the softmax along a dimension, or with the sigmoid (None)."""

    def total(x: Tensor) -> Tensor:
        return x if dim is None else x.sum(dim, keepdim=True)

    p = [each.sigmoid() if dim is None else each.softmax(dim) for each in z]
    steps = [(a - p[0], b - g[0]) for a, b in zip(p[1:], g[1:])]
    w = torch.stack([total(dp * dg) for dp, dg in steps]).sum(0) / torch.stack([total(dp * dp) for dp, _ in steps]).sum(
        0
    )
    allowed = tolerance * max(float(each.abs().max()) for each in g)
    wq = w * p[0] - g[0]
    wrong = [
        *(dg - w * dp for dp, dg in steps),  # the weights and targets are the same everywhere
        total(g[0]) if dim is not None else torch.zeros(1),  # so that targets sum to 1
        w.clamp(max=0),
        wq.clamp(max=0),
        (wq - w).clamp(min=0),
    ]
    if any(not float(each.abs().max()) <= allowed for each in wrong) or not bool((w > allowed).any()):
        return None
    log_sums = [softplus(each) if dim is None else each.logsumexp(dim, keepdim=True) for each in z]
    return [
        float((w * log_sum).sum(dtype=torch.float64) - (wq * each).sum(dtype=torch.float64))
        for log_sum, each in zip(log_sums, z)
    ]
