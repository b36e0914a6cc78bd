from __future__ import annotations

import pytest
import torch
from torch.nn.functional import kl_div

from nni_cafenet import AlphaDivergence
from nni_cafenet.supernet.divergence import KLDivergence, logits_of

torch.manual_seed(0)
STUDENT = torch.randn(5, 4, dtype=torch.float64)
TEACHER = torch.randn(5, 4, dtype=torch.float64)


def plain(alpha, student):
    """The alpha-divergence by its definition, which autograd differentiates."""
    p, q = TEACHER.softmax(1), student.softmax(1)
    if alpha == 1:
        return (p * (p / q).log()).sum(1)
    return ((q * (p / q) ** alpha).sum(1) - 1) / (alpha * (alpha - 1))


def value_and_gradient(function):
    student = STUDENT.clone().requires_grad_()
    value = function(student)
    return value.detach(), torch.autograd.grad(value.sum(), student)[0]


def test_kl_is_that_of_torch():
    expected = value_and_gradient(lambda q: kl_div(q.log_softmax(1), TEACHER.softmax(1), reduction='batchmean'))
    for ours, theirs in zip(value_and_gradient(lambda q: KLDivergence().between(q, TEACHER)), expected):
        torch.testing.assert_close(ours, theirs)
    assert float(KLDivergence().between(TEACHER, TEACHER)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('alpha', [-1.0, -0.5, 0.5, 1.0, 2.0])
def test_alpha_divergences_have_the_value_and_the_gradient_of_the_definition(alpha):
    rule = AlphaDivergence(alpha, alpha, clip=1e9)
    found = value_and_gradient(lambda q: rule.between(q, TEACHER))
    expected = value_and_gradient(lambda q: plain(alpha, q).mean())
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs)


def test_the_larger_of_two_counts_sample_by_sample():
    found = value_and_gradient(lambda q: AlphaDivergence(-1, 1, clip=1e9).between(q, TEACHER))
    expected = value_and_gradient(lambda q: torch.maximum(plain(-1, q), plain(1, q)).mean())
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs)


def test_large_ratios_are_clipped():
    sure = torch.tensor([[12.0, 0.0]], requires_grad=True)
    AlphaDivergence(-1, -1).between(sure, torch.tensor([[-12.0, 0.0]])).backward()
    assert float(sure.grad.abs().max()) <= 5


def test_logits_are_found_in_outputs():
    logits = torch.zeros(2, 3)
    assert logits_of({'ids': torch.zeros(2, 3, dtype=torch.long), 'logits': logits}) is logits
    for wrong in (torch.zeros(2), torch.zeros(2, 1), None):
        with pytest.raises(TypeError, match='distill: the model returns .* without class scores'):
            logits_of(wrong)


def test_options_that_are_refused():
    for options in ({'low': 0}, {'high': 'a'}, {'clip': 1}):
        with pytest.raises(ValueError, match=f'{next(iter(options))}='):
            AlphaDivergence(**options)
