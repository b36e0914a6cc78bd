"""Which losses are the cross-entropy of the model's output."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nni_cafenet.search.cross_entropy import find_logits

INPUTS, LABELS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 7
SOFT = torch.arange(84.0).reshape(12, 7).sin().softmax(1)
SEVERAL = (torch.arange(84).reshape(12, 7) % 3 == 0).float()
PIXELS = torch.arange(2 * 4 * 4).reshape(2, 4, 4) % 7
TOKENS = torch.arange(18).reshape(2, 9) % 7
Output = namedtuple('Output', ['logits', 'features'])


def ignoring(labels):
    return torch.where(torch.arange(labels.numel()).reshape(labels.shape) < 3, -100, labels)


def in_place(z):
    z[:, 0] += 0  # of a tensor that the model returned
    return F.cross_entropy(z, LABELS)


FOUND = {
    'classes': lambda z: F.cross_entropy(z, LABELS),
    'classes, a sum': lambda z: F.cross_entropy(z, LABELS, reduction='sum'),
    'half of it': lambda z: 0.5 * F.cross_entropy(z, LABELS),
    'smoothed and weighted': lambda z: F.cross_entropy(z, LABELS, torch.arange(7.0), label_smoothing=0.1),
    'some ignored': lambda z: F.cross_entropy(z, ignoring(LABELS)),
    'soft labels': lambda z: F.cross_entropy(z, SOFT),
    'written by hand': lambda z: -z.log_softmax(1)[torch.arange(12), LABELS].mean(),
    'of the first rows': lambda z: F.cross_entropy(z[:5], LABELS[:5]),
    'several labels': lambda z: F.binary_cross_entropy_with_logits(z, SEVERAL),
    'several labels, weighted': lambda z: F.binary_cross_entropy_with_logits(
        z, SEVERAL, pos_weight=torch.arange(1, 8.0)
    ),
    'written into': in_place,
}
NOT_FOUND = {
    'log-probabilities': lambda z: F.nll_loss(z, LABELS),
    'squares': lambda z: F.mse_loss(z, SOFT),
    'a sigmoid, then squares': lambda z: F.mse_loss(z.sigmoid(), SOFT),
    'a margin': lambda z: F.multi_margin_loss(z, LABELS),
    'focal': lambda z: (
        (1 - z.softmax(1)[torch.arange(12), LABELS]) ** 2 * F.cross_entropy(z, LABELS, reduction='none')
    ).mean(),
    'hard mining': lambda z: F.cross_entropy(z, LABELS, reduction='none').topk(4).values.mean(),
    'a temperature of its own': lambda z: F.cross_entropy(z / 4, LABELS),
    'some of the classes': lambda z: F.cross_entropy(z[:, :5], LABELS % 5),
    'probabilities': lambda z: F.cross_entropy(z.softmax(1), LABELS),
}
OTHER_TERMS = {
    'a penalty on weights': lambda z: F.cross_entropy(z, LABELS) + INPUTS.square().sum(),
    'a distance': lambda z: F.kl_div(z.log_softmax(1), SOFT, reduction='batchmean'),
}


def found(loss, outputs=7):
    """What is found of a loss of a linear layer's output, where scores look: without gradients."""
    model = nn.Linear(5, outputs)
    with torch.no_grad():
        answer = find_logits(model, lambda: loss(model(INPUTS)))
    assert 'forward' not in vars(model)
    assert all(parameter.grad is None for parameter in model.parameters())
    return answer


@pytest.mark.parametrize('loss', FOUND)
def test_cross_entropies_are_found(loss):
    assert found(FOUND[loss]).places == {(0, 0)}


@pytest.mark.parametrize('loss', NOT_FOUND)
def test_other_losses_are_none(loss):
    assert found(NOT_FOUND[loss]) == "the loss is not the cross-entropy of the model's output"


@pytest.mark.parametrize('loss', OTHER_TERMS)
def test_losses_with_other_terms_are_none(loss):
    assert 'has other terms' in found(OTHER_TERMS[loss])


def test_losses_that_do_not_depend_on_the_output():
    assert 'does not depend' in found(lambda z: torch.tensor(1.0))
    assert 'does not depend' in found(lambda z: F.cross_entropy(z, LABELS).detach())
    assert 'does not depend' in found(lambda z: F.cross_entropy(INPUTS.requires_grad_(False) * 1.0, LABELS % 5))
    assert 'skips' in found(lambda z: None)
    model = nn.Linear(5, 7)
    assert 'does not call' in find_logits(model, lambda: F.cross_entropy(INPUTS @ model.weight.T, LABELS))


def test_one_output_for_two_classes():
    assert found(lambda z: F.binary_cross_entropy_with_logits(z[:, 0], SEVERAL[:, 0]), outputs=1).places == {(0, 0)}


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_pixels_and_tokens(dtype):
    pixels, tokens = nn.Conv2d(3, 7, 1).to(dtype), nn.Linear(5, 7).to(dtype)
    x, y = torch.randn(2, 3, 4, 4).to(dtype), torch.randn(2, 9, 5).to(dtype)
    assert find_logits(pixels, lambda: F.cross_entropy(pixels(x).float(), ignoring(PIXELS))).places == {(0, 0)}
    assert find_logits(tokens, lambda: F.cross_entropy(tokens(y).float().transpose(1, 2), TOKENS)).places == {(0, 0)}

    def of_the_next_token():
        return F.cross_entropy(tokens(y)[:, :-1].flatten(0, 1).float(), TOKENS[:, 1:].flatten())

    assert find_logits(tokens, of_the_next_token).places == {(0, 0)}


@pytest.mark.parametrize(
    ('returned', 'read', 'place'),
    [
        (lambda z, f: (f, z), lambda out: out[1], 1),
        (lambda z, f: {'features': f, 'n': 3, 'out': z}, lambda out: out['out'], 2),
        (Output, lambda out: out.logits, 0),
    ],
)
def test_outputs_of_several_tensors(returned, read, place):
    class Several(nn.Linear):
        def forward(self, x):
            return returned(super().forward(x), x)

    model = Several(5, 7)
    assert find_logits(model, lambda: F.cross_entropy(read(model(INPUTS)), LABELS)).places == {(0, place)}


def test_auxiliary_heads_and_several_calls():
    class Two(nn.Linear):
        def forward(self, x):
            return {'out': super().forward(x), 'aux': super().forward(-x)}

    model = Two(5, 7)

    def auxiliary():
        out = model(INPUTS)
        return F.cross_entropy(out['out'], LABELS) + 0.4 * F.cross_entropy(out['aux'], LABELS)

    assert find_logits(model, auxiliary).places == {(0, 0), (0, 1)}
    one = nn.Linear(5, 7)

    def twice():
        return F.cross_entropy(one(INPUTS), LABELS) + F.cross_entropy(one.forward(INPUTS.flip(0)), LABELS)

    logits = find_logits(one, twice)
    assert logits.places == {(0, 0), (1, 0)}
    assert logits.leaves == (1, 1)

    def consistent():
        return F.cross_entropy(one(INPUTS), LABELS) + F.mse_loss(one(INPUTS), one(INPUTS.flip(0)))

    assert isinstance(find_logits(one, consistent), str)


def test_models_that_apply_the_softmax_or_compute_their_loss():
    logs = nn.Sequential(nn.Linear(5, 7), nn.LogSoftmax(1))
    assert 'not the cross-entropy' in find_logits(logs, lambda: F.nll_loss(logs(INPUTS), LABELS))
    # The softmax of a log-softmax is that of its input: the temperature does what it should.
    assert find_logits(logs, lambda: F.cross_entropy(logs(INPUTS), LABELS)).places == {(0, 0)}

    class Losses(nn.Linear):
        def forward(self, x, y):
            z = super().forward(x)
            return {'loss': F.cross_entropy(z, y), 'logits': z}

    model = Losses(5, 7)
    assert isinstance(find_logits(model, lambda: model(INPUTS, LABELS)['loss']), str)
