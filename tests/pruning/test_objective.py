from __future__ import annotations

import copy

import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet.pruning.objective import Task
from nni_cafenet.pruning.task_module import TaskModule

QUIET = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)
X, Y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
NET = nn.Linear(4, 3)


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


class Losses(nn.Module):
    """As torchvision's detectors: a dict of losses in training, something else in evaluation."""

    def __init__(self, returns=None) -> None:
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)
        self.returns = returns

    def forward(self, x, y=None):
        scores = self.norm(self.linear(self.dropout(x)))
        if not self.training:
            return scores.argmax(1)
        if self.returns is not None:
            return self.returns
        return {'a': cross_entropy(scores, y), 'b': scores.square().mean(), 'note': 'no tensor'}


# --- reading --------------------------------------------------------------------------------------


def test_classification_needs_no_words():
    task = Task.of(None, None, NET, (X, Y))
    torch.testing.assert_close(task.step(NET, (X, Y)), cross_entropy(NET(X), Y))
    assert list(task.metrics) == ['acc']


@pytest.mark.parametrize('inputs', [(X, X), [X, X], {'a': X, 'b': X}])
def test_several_inputs(inputs):
    task = Task.of(mse_loss, None, Sum(), (inputs, torch.zeros(6, 4)))
    torch.testing.assert_close(task.step(Sum(), (inputs, torch.zeros(6, 4))), (2 * X).square().mean())


def test_a_model_that_returns_its_losses():
    model = Losses()
    task = Task.of('model', None, model, (X, Y))
    assert task.loss is None
    assert task.metrics == {}
    model.eval()
    means = model.norm.running_mean.clone()
    loss = task.step(model, (X, Y))  # in evaluation too, where dropout and statistics stay off
    scores = model.norm(model.linear(X))
    torch.testing.assert_close(loss, cross_entropy(scores, Y) + scores.square().mean())
    torch.testing.assert_close(model.norm.running_mean, means)
    assert not any(module.training for module in model.modules())
    assert task.outputs(model, (X, Y))[0].shape == (6,)


def test_detectors_of_torchvision_are_known():
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    picture = torch.rand(3, 64, 64)
    box = {'boxes': torch.tensor([[5.0, 5.0, 40.0, 40.0]]), 'labels': torch.tensor([1])}
    task = Task.of(None, None, model, ([picture], [box]))
    assert task.loss is None
    loss = task.step(model.eval(), ([picture], [box]))
    assert loss.requires_grad
    assert loss.item() > 0


def test_the_model_keeps_its_modes():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout()).train()
    model[1].eval()
    Task.of(None, None, model, (X, Y))
    assert [module.training for module in model.modules()] == [True, True, False]


@pytest.mark.parametrize(
    ('loss', 'metric', 'batch', 'error', 'match'),
    [
        (None, None, {'image': X, 'label': Y}, TypeError, "yields dictionaries .with 'image', 'label'.*evaluator="),
        (None, None, X, TypeError, 'yields a Tensor, not .inputs, target.'),
        (None, None, (X, Y, X), TypeError, 'yields a tuple of 3, not'),
        (
            None,
            None,
            (X, X),
            ValueError,
            'loss=None: .* target .a float32 tensor',
        ),
        ('hinge', None, (X, Y), ValueError, "loss='hinge' must be a function or one of cross_entropy, bce, mse, model"),
        (
            'mse',
            None,
            (X, X),
            ValueError,
            "loss: 'mse' failed on the first batch of train .* the output has .6, 3.: reshape",
        ),
        (lambda output, target: 3, None, (X, Y), TypeError, 'loss: <lambda> returned int'),
        (None, None, (X.byte(), Y), ValueError, 'train: Linear cannot be called with .*a uint8 tensor of shape .6, 4.'),
        (lambda output, target: output, None, (X, Y), TypeError, 'returned a float32 tensor of shape .6, 3.; it must'),
        (None, 'acc', (X, Y), TypeError, "metric='acc' must be a function"),
    ],
)
def test_what_does_not_fit(loss, metric, batch, error, match):
    with pytest.raises(error, match=match):
        Task.of(loss, metric, NET, batch)


@pytest.mark.parametrize(
    ('metric', 'batch', 'error', 'match'),
    [
        (None, {'image': X, 'label': Y}, TypeError, 'validate: the loader yields dictionaries'),
        (None, (X.double(), Y), ValueError, 'validate: Linear cannot be called with .*float64'),
        (None, (X, Y + 1), ValueError, "loss: 'cross_entropy' failed on the first batch of validate .*out of bounds"),
        ({'mine': lambda output, target: 1 / 0}, (X, Y), ValueError, 'metric: mine failed .*division by zero'),
        (
            lambda output, target: output.argmax(1) == target,
            (X, Y),
            TypeError,
            'returned a bool tensor of shape .6,.; it',
        ),
        ({'auto': torchmetrics.Accuracy('multiclass', num_classes=7)}, (X, Y), ValueError, 'metric: auto failed'),
    ],
)
def test_validation_data_and_metrics_that_do_not_fit(metric, batch, error, match):
    task = Task.of(None, metric, NET, (X, Y))
    with pytest.raises(error, match=match):
        task.check(NET, batch, 'validate')


def test_looking_at_a_batch_leaves_metrics_as_they_are():
    auto = torchmetrics.Accuracy('multiclass', num_classes=3)
    Task.of(None, {'auto': auto}, NET, (X, Y)).check(NET, (X, Y), 'validate')
    assert auto.update_count == 0
    model = Losses().eval()
    Task.of('model', {'right': lambda output, target: (output == target).float().mean()}, model, (X, Y)).check(
        model, (X, Y), 'validate'
    )
    assert not any(module.training for module in model.modules())


def test_a_model_that_returns_no_losses():
    task = Task(None)
    with pytest.raises(TypeError, match="loss='model': Losses returned int in training"):
        task.step(Losses(returns=3).train(), (X, Y))
    with pytest.raises(
        ValueError, match="loss='model': Losses gives no losses.*first batch of train .TypeError: .*returned int"
    ):
        task.check(Losses(returns=3).train(), (X, Y), 'train')


# --- training -------------------------------------------------------------------------------------


def fit(task, model, epochs=4, **options):
    module = TaskModule(task, **options)
    module.set_model(model)
    trainer = pl.Trainer(accelerator='cpu', max_epochs=epochs, num_sanity_val_steps=0, **QUIET)
    data = TensorDataset(X, Y)
    trainer.fit(module, DataLoader(data, 2), DataLoader(data, 4))
    return trainer


def test_it_trains_and_logs_the_metrics():
    model = nn.Linear(4, 3)
    metrics = {'right': lambda output, target: (output.argmax(1) == target).sum() / len(target)}
    metrics['auto'] = torchmetrics.Accuracy('multiclass', num_classes=3)
    before = cross_entropy(model(X), Y).item()
    trainer = fit(Task.of(None, metrics, model, (X, Y)), model, epochs=20, optimizer=lambda p: torch.optim.SGD(p, 0.5))
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert set(logged) == {'train_loss', 'val_loss', 'val_right', 'val_auto'}
    assert logged['val_loss'] == pytest.approx(cross_entropy(model(X), Y).item(), rel=1e-5)
    assert logged['val_loss'] < 0.6 * before
    right = (model(X).argmax(1) == Y).float().mean().item()
    assert logged['val_right'] == logged['val_auto'] == pytest.approx(right)  # batches of 4 and 2 count by their size


def test_the_learning_rate_rises_and_falls():
    rates = []

    class Watch(nn.Linear):
        def forward(self, x):
            if self.training:
                rates.append(optimizer[0].param_groups[0]['lr'])
            return super().forward(x)

    optimizer = []

    def make(parameters):
        optimizer.append(torch.optim.SGD(parameters, 0.1))
        return optimizer[0]

    model = Watch(4, 3)
    task = Task.of(None, None, copy.deepcopy(NET), (X, Y))
    fit(task, model, epochs=10, optimizer=make)
    assert len(rates) == 30  # a tenth of them to warm up
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.001
    assert rates[16] == pytest.approx(0.1 * 0.529, rel=0.02)  # half-way down the cosine


def test_frozen_parameters_are_not_optimized():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    model[0].requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    fit(Task.of(None, None, model, (X, Y)), model, epochs=1)
    after = list(model.parameters())
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[2], before[2])
