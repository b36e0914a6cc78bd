from __future__ import annotations

import copy
import logging

import pytest
import torch
from nni.nas.evaluator.pytorch import ClassificationModule, LightningModule
from torch import nn
from torch.nn.functional import cross_entropy

from nni_cafenet.pruning.distillation import distance, distilling

X, Y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])


class Counting(nn.Module):
    def __init__(self, scale=1.0) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(4, 3), nn.Dropout(0.5)
        self.scale, self.calls = scale, 0

    def forward(self, x):
        self.calls += 1
        return self.dropout(self.linear(x)) * self.scale


class User(LightningModule):
    def __init__(self, returns=lambda loss: loss) -> None:
        super().__init__()
        self.returns = returns

    def training_step(self, batch, batch_idx):
        x, y = batch
        return self.returns(cross_entropy(self.model(x), y))


def taught(teacher, module=None, weight=1.0):
    module = distilling(module or User(), teacher, weight)
    module.set_model(nn.Linear(4, 3))
    return module.train()


def test_the_distance_is_zero_for_the_same_and_one_for_the_mean():
    wanted = torch.randn(20, 3)
    assert distance(wanted, wanted.clone()) == 0
    assert distance(wanted.mean().expand(20, 3), wanted).item() == pytest.approx(1, rel=1e-5)
    twice = {'a': wanted, 'b': (wanted + wanted.std(correction=0),)}
    assert distance(twice, {'a': wanted, 'b': (wanted,)}).item() == pytest.approx(0.5, rel=1e-5)


def test_outputs_that_hardly_vary_do_not_blow_the_distance_up():
    alone = torch.tensor([[3.0]])
    output = torch.tensor([[5.0]], requires_grad=True)
    distance(output, alone).backward()  # the last batch of a regression may hold one sample
    assert output.grad.item() == 0
    equal = torch.full((2, 1), 2.0)
    assert distance(equal + 0.02, equal).item() == pytest.approx(1, rel=1e-3)  # (0.02 / 2)^2 / 1e-4


def test_only_what_both_have_is_compared():
    whole = torch.tensor([1, 2])
    assert distance({'boxes': whole}, {'boxes': whole}) is None
    assert distance(torch.zeros(3), torch.zeros(4)) is None
    assert distance({}, torch.zeros(4)) is None


def test_the_loss_has_the_distance_to_the_teacher():
    teacher = Counting().train()
    module = taught(teacher, weight=2.0)
    loss = module.training_step((X, Y), 0)
    scores = module.model(X)
    with torch.no_grad():
        wanted = teacher.linear(X)  # the teacher is in evaluation: no dropout
    torch.testing.assert_close(loss, cross_entropy(scores, Y) + 2 * distance(scores, wanted))
    loss.backward()
    assert module.model.weight.grad.abs().sum() > 0
    assert teacher.calls == 0
    assert teacher.training


def test_scores_and_validation_are_the_user_s():
    module = taught(Counting()).eval()
    torch.testing.assert_close(module.training_step((X, Y), 0), cross_entropy(module.model(X), Y))


def test_the_teacher_answers_once_a_batch():
    module = taught(Counting())
    answers = module._teacher._network
    batch = (X, Y)
    for _ in range(3):  # as min-min training does
        module.training_step(batch, 0)
    assert answers.calls == 1
    module.training_step((X, Y), 1)
    assert answers.calls == 2


def test_a_step_may_return_a_dict_or_nothing():
    module = taught(Counting(), User(lambda loss: {'loss': loss, 'more': 3}))
    output = module.training_step((X, Y), 0)
    assert output['more'] == 3
    assert output['loss'] > cross_entropy(module.model(X), Y)
    assert taught(Counting(), User(lambda loss: None)).training_step((X, Y), 0) is None


def test_it_stays_a_module_of_its_class_and_the_teacher_no_part_of_it():
    original = ClassificationModule(num_classes=3)
    module = distilling(original, Counting())
    assert isinstance(module, ClassificationModule)
    assert type(original) is not type(module)
    assert type(distilling(original, Counting())) is type(module)
    assert list(module.state_dict()) == list(original.state_dict())
    assert not [name for name, _ in module.named_parameters()]
    assert copy.deepcopy(module)._teacher is module._teacher


def test_where_nothing_can_be_compared_it_says_so_once(caplog):
    module = taught(nn.Linear(4, 7))
    with caplog.at_level(logging.WARNING, logger='nni_cafenet'):
        for index in range(3):
            torch.testing.assert_close(module.training_step((X, Y), index), cross_entropy(module.model(X), Y))
    assert [record.message for record in caplog.records if 'No distillation' in record.message] == [
        caplog.records[0].message
    ]
