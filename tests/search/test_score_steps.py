from __future__ import annotations

import pytest
import torch
import torchmetrics
from nni.nas.evaluator.pytorch import ClassificationModule, LightningModule, RegressionModule
from torch import nn

from nni_cafenet.cli.quickstart import DigitsModule
from nni_cafenet.search.score_steps import loss_step, statistics_step


class OwnLoss(nn.CrossEntropyLoss):
    pass


class OwnMetric(torchmetrics.MeanMetric):
    pass


class OwnStep(ClassificationModule):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)


class Unrelated(LightningModule):
    def training_step(self, batch, batch_idx):
        return self.model(batch[0]).sum()


def with_own_metric():
    module = ClassificationModule(num_classes=3)
    module.metrics['own'] = OwnMetric()
    return module


def with_step_put_on():
    module = ClassificationModule(num_classes=3)
    module.training_step = lambda batch, batch_idx: module(batch[0]).sum()
    return module


@pytest.mark.parametrize(
    'make', [lambda: ClassificationModule(num_classes=3), lambda: DigitsModule(num_classes=3), RegressionModule]
)
def test_of_a_step_of_nni_only_what_is_needed_is_run(make):
    module, seen = make(), []
    module.set_model(nn.Linear(4, 3))
    module.log = lambda *_, **__: None
    x = torch.randn(5, 4)
    target = torch.randn(5, 3) if isinstance(module, RegressionModule) else torch.tensor([0, 1, 2, 0, 1])
    whole = module.training_step((x, target), 0)
    module.criterion.register_forward_hook(lambda *_: seen.append('loss'))
    next(iter(module.metrics.values())).register_forward_hook(lambda *_: seen.append('metric'))
    assert torch.equal(statistics_step(module)((x, target), 0), module(x))
    assert seen == []
    assert torch.equal(loss_step(module)((x, target), 0), whole)
    assert seen == ['loss']


@pytest.mark.parametrize(
    'make',
    [
        lambda: ClassificationModule(criterion=OwnLoss, num_classes=3),
        with_own_metric,
        with_step_put_on,
        lambda: OwnStep(num_classes=3),
        Unrelated,
    ],
    ids=['own loss', 'own metric', 'step put on', 'own step', 'unrelated'],
)
def test_any_other_step_is_run_whole(make):
    module = make()
    assert statistics_step(module) == module.training_step
    assert loss_step(module) == module.training_step
