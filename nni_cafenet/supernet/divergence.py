"""In-place distillation: the divergence of a slice's outputs from those of the full network in the same step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..utils import check_number, tensors_in

__all__ = ['AlphaDivergence', 'Divergence', 'KLDivergence', 'logits_of']


class Divergence(ABC):
    """A divergence of a student's class probabilities from those of its teacher."""

    @abstractmethod
    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean over all samples, of logits with classes in dimension 1. The teacher gets no gradient."""


@dataclass(frozen=True)
class KLDivergence(Divergence):
    """The Kullback-Leibler divergence ``sum p log(p / q)`` of teacher p and student q (US-Nets)."""

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean over all samples."""
        log_q, log_p = student.log_softmax(1), teacher.detach().log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(1).mean()


@dataclass(frozen=True)
class AlphaDivergence(Divergence):
    """The larger of two alpha-divergences, sample by sample (AlphaNet, Wang et al. 2021).

    ``D_a = (sum q (p / q)^a - 1) / (a (a - 1))`` of teacher p and student q; a = 1 is the KL divergence. A negative a
    penalizes a student that is more confident than its teacher, which the KL divergence hardly does.

    Parameters
    ----------
    low, high
        The two values of a.
    clip
        Upper bound of ``(p / q)^a``; keeps gradients small.

    Raises
    ------
    ValueError
        If a value of a is 0, or ``clip`` is not above 1.
    """

    low: float = -1.0
    high: float = 1.0
    clip: float = 5.0

    def __post_init__(self) -> None:
        for name, value in (('low', self.low), ('high', self.high)):
            if check_number(name, value) == 0:
                raise ValueError(f'{name}={value!r} must be a number other than 0.')
        check_number('clip', self.clip, 1, open=True)

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean over all samples."""
        log_q, log_p = student.log_softmax(1), teacher.detach().log_softmax(1)
        low, high = (self._divergence(log_p, log_q, alpha) for alpha in (self.low, self.high))
        return torch.maximum(low, high).mean()

    def _divergence(self, log_p: Tensor, log_q: Tensor, alpha: float) -> Tensor:
        """Return ``D_a`` of each sample, with the gradient ``-sum q (p / q)^a / a * d log q`` of clipped ratios."""
        q, difference = log_q.detach().exp(), log_p - log_q.detach()
        ratio = (alpha * difference).exp().clamp(max=self.clip)
        if alpha == 1:
            value = (q * ratio * difference).sum(1)
        else:
            value = (q * (ratio - 1)).sum(1) / (alpha * (alpha - 1))
        gradient = -(q * ratio / alpha * log_q).sum(1)
        return value + gradient - gradient.detach()


def logits_of(output: Any) -> Tensor:
    """Return the first tensor of a model's output that can hold logits; a TypeError if there is none."""
    for tensor in tensors_in(output):
        if tensor.is_floating_point() and tensor.dim() >= 2 and tensor.shape[1] >= 2:
            return tensor
    raise TypeError(
        f'distill: the model returns {type(output).__name__} without class scores of two or more classes in dimension 1. '
        'In-place distillation is for classifiers; leave distill out.'
    )
