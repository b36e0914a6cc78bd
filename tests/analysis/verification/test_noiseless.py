"""What permutes or chooses channels in training mode only is found; noise of training mode is not taken for that."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet import WidthSpace


class Net(nn.Module):
    def __init__(self, part, width=12) -> None:
        super().__init__()
        self.a, self.n, self.part = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), part
        self.b, self.o = nn.Conv2d(width, 6, 1), nn.Linear(6, 2)

    def forward(self, x):
        return self.o(self.b(self.part(self.n(self.a(x)).relu())).mean((2, 3)))


class Trained(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x) if self.training else x


class ByMode(nn.Module):
    """What it does does not hang on the flag of torch."""

    flips = False

    def train(self, mode=True):
        self.flips = mode
        return super().train(mode)

    def forward(self, x):
        return x.flip(1) if self.flips else x


class Statistics(nn.Module):
    """Batch normalization by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(12))

    def forward(self, x):
        mean = self.mean
        if self.training:
            mean = x.mean((0, 2, 3))
            self.mean.lerp_(mean.detach(), 0.1)
        return x - mean[:, None, None]


def some(x):
    kept = torch.randperm(x.shape[1])[: x.shape[1] // 2]
    return torch.zeros_like(x).index_copy(1, kept, x[:, kept])


def gathered(x):
    order = torch.rand(x.shape[:2]).topk(x.shape[1], 1)[1]
    return x.gather(1, order[..., None, None].expand_as(x))


def mixed(x, weight):
    return torch.einsum('nchw,cd->ndhw', x, weight)


def by_python(x):
    order = list(range(x.shape[1]))
    random.shuffle(order)
    return x.flip(1)[:, order]


def blurred(x):
    kernel = torch.rand(1, 1, 3, 3).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, kernel / kernel.sum((2, 3), keepdim=True), padding=1, groups=x.shape[1])


MOVED = {
    'shuffle': lambda x: x[:, torch.randperm(x.shape[1])],
    'order of random numbers': lambda x: x[:, torch.rand(x.shape[1]).argsort()],
    'roll': lambda x: x.roll(1, 1),
    'some channels': some,
    'gather': gathered,
    'seldom': lambda x: x.flip(1) if float(torch.rand(())) < 0.1 else x,
    'mostly, by Python': lambda x: x.flip(1) if random.random() > 0.1 else x,
    'seldom, by NumPy': lambda x: x.flip(1) if np.random.rand() < 0.1 else x,
    'sizes of the full width': lambda x: torch.cat([x[:, 6:], x[:, :6]], 1),
    'flip and shuffle': lambda x: x.flip(1)[:, torch.randperm(x.shape[1])],
    'shuffle twice': lambda x: x[:, torch.randperm(x.shape[1])][:, torch.randperm(x.shape[1])],
    'flip and order of random numbers': lambda x: x.flip(1)[:, torch.rand(x.shape[1]).sort()[1]],
    'flip and sample': lambda x: x.flip(1)[:, torch.ones(x.shape[1]).multinomial(x.shape[1])],
    'flip and shuffle by Python': by_python,
    'flip and shuffle by NumPy': lambda x: x.flip(1)[:, torch.from_numpy(np.random.permutation(x.shape[1]))],
    'roll by a random number': lambda x: x.roll(int(torch.randint(x.shape[1], ())), 1),
    'random matrix': lambda x: mixed(x, torch.randn(x.shape[1], x.shape[1])),
    'nearly the identity': lambda x: mixed(x, torch.eye(x.shape[1]) + 0.1 * torch.randn(x.shape[1], x.shape[1])),
    'random rotation': lambda x: mixed(x, torch.linalg.qr(torch.randn(x.shape[1], x.shape[1]))[0]),
    'random filter': lambda x: F.conv2d(x, x.new_empty(x.shape[1], x.shape[1], 1, 1).normal_()),
    'matrix of an order': lambda x: mixed(x.flip(1), torch.eye(x.shape[1])[torch.randperm(x.shape[1])]),
}
NOISE = {
    'dropout': nn.Dropout(0.3),
    'channels': nn.Dropout2d(0.3),
    'alpha': nn.AlphaDropout(0.3),
    'feature alpha': nn.FeatureAlphaDropout(0.3),
    'rrelu': nn.RReLU(),
    'function': Trained(lambda x: F.dropout(x, 0.3)),
    'by hand': Trained(lambda x: x * (torch.rand_like(x) > 0.3) / 0.7),
    'Gaussian': Trained(lambda x: x + 0.1 * torch.randn_like(x)),
    'depth': Trained(lambda x: x * x.new_empty((len(x), 1, 1, 1)).bernoulli_(0.8) / 0.8),
    'Gumbel': Trained(lambda x: x * F.gumbel_softmax(x.flatten(2), dim=-1).reshape(x.shape)),
    'hard Gumbel': Trained(lambda x: x * F.gumbel_softmax(x.flatten(2), hard=True, dim=-1).reshape(x.shape)),
    'beta': Trained(lambda x: (x + torch.randn_like(x)) * torch.distributions.Beta(1.0, 1.0).sample()),
    'mixup': Trained(lambda x: 0.7 * x + 0.3 * x[torch.randperm(len(x))]),
    'blur': Trained(blurred),
    'positions': Trained(lambda x: x.flatten(2)[..., torch.randperm(x.shape[2] * x.shape[3])].reshape(x.shape)),
    'scale': Trained(lambda x: 2 * x),
    'statistics': Statistics(),
    'batch': nn.BatchNorm2d(12, track_running_stats=False),
    'spectral': nn.utils.parametrizations.spectral_norm(nn.Conv2d(12, 12, 1)),
}


def labels_of(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    space = WidthSpace(model, example_input=(1, 3, 4, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    return space.labels


@pytest.mark.parametrize('kind', [*MOVED, 'mode'])
def test_channels_that_move_in_training_mode_keep_their_width(kind, caplog):
    model = Net(Trained(MOVED[kind]) if kind in MOVED else ByMode())
    assert labels_of(model) == ('b',)
    assert 'The channels of a keep their width: in training mode, ' in caplog.text


@pytest.mark.parametrize('width', [2, 3])
@pytest.mark.parametrize('kind', ['flip and shuffle', 'random matrix'])
def test_few_channels_that_move_at_random_keep_their_width(kind, width):
    assert labels_of(Net(Trained(MOVED[kind]), width)) == ('b',)


@pytest.mark.parametrize('kind', NOISE)
def test_noise_of_training_mode_is_no_reason(kind, caplog):
    free = {'a', 'b'} | ({'part'} if kind == 'spectral' else set())
    assert set(labels_of(Net(NOISE[kind]))) == free
    assert not caplog.records


class Autoencoder(nn.Module):
    """A variational autoencoder: it samples in evaluation mode, too."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
        self.mean, self.log_variance = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 4, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(4, 16, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=4), nn.Conv2d(16, 3, 3, 1, 1)
        )

    def forward(self, x):
        x = self.encoder(x)
        mean, log_variance = self.mean(x), self.log_variance(x)
        return self.decoder(mean + torch.exp(log_variance / 2) * torch.randn_like(mean)), mean, log_variance


def test_an_autoencoder_that_samples(caplog):
    model = Autoencoder().double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    space = WidthSpace(model, example_input=x)
    assert space.full_widths == {'encoder.0': 12, 'encoder.2': 16, 'decoder.0': 16}
    assert 'random numbers of aten.randn_like' in {r.label: r.reason for r in space.graph.fixed}['mean']
    widths = {label: width // 2 for label, width in space.full_widths.items()}
    slim = space.eval().slim(widths)
    space.activate(widths)
    outputs = []
    for each in (space, slim):
        torch.manual_seed(0)
        with torch.no_grad():
            outputs.append(each(x))
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)
    assert not caplog.messages


@pytest.mark.parametrize(
    'noise',
    [
        lambda x: F.dropout(x, 0.3, training=True),
        lambda x: F.dropout2d(x, 0.3),
        lambda x: x * torch.bernoulli(torch.full((x.shape[0], 1, 1, 1), 0.5)),
        lambda x: x + 0.1 * torch.randn(x.shape[0], 1, 1, 1),
        lambda x: x * random.uniform(0.5, 1.5),
    ],
    ids=['dropout', 'dropout2d', 'bernoulli', 'randn', 'python'],
)
def test_noise_of_evaluation_mode(noise, caplog):
    class Part(nn.Module):
        def forward(self, x):
            return noise(x)

    space = WidthSpace(Net(Part()), example_input=torch.randn(2, 3, 4, 4))
    assert dict(space.full_widths) == {'a': 12, 'b': 6}
    assert not caplog.messages


def test_the_random_generators_are_where_they_were():
    model, x = Autoencoder(), torch.randn(2, 3, 8, 8)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[2]
    WidthSpace(model, example_input=x)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[2]) == before[1:]
