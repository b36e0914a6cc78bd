"""Every ingredient of a recipe has its effect in training, and only there."""

from __future__ import annotations

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet import TrainingRecipe, training_evaluator
from nni_cafenet.errors import MissingExtraError
from nni_cafenet.pruning import Recipes, TrainerOptions, task_evaluator
from nni_cafenet.pruning.objective import Task
from nni_cafenet.pruning.recipe import LearningRate, make_optimizer
from nni_cafenet.pruning.task_module import TaskModule
from nni_cafenet.stages import check_loggers

PICTURES, LABELS = torch.randn(8, 1, 6, 6), torch.arange(8) % 3
DATA = TensorDataset(PICTURES, LABELS)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


def module_of(recipe, loss=None, target=LABELS):
    model = net()
    task = Task.of(loss, None, model, (PICTURES, target))
    task.check_recipe(recipe, (PICTURES, target))
    module = TaskModule(task, recipe=recipe)
    module.set_model(model)
    module.log = lambda *args, **kwargs: None
    return module


def fit(recipe, epochs=2, slim=True):
    """Train a network by the recipe; return it, the trainer, and the module."""
    task = Task.of(None, None, net(), (PICTURES, LABELS))
    loaders = DataLoader(DATA, 4), DataLoader(DATA, 8)
    evaluator = task_evaluator(task, *loaders, trainer=TrainerOptions('cpu'), recipe=recipe)
    recipes = Recipes(evaluator, teacher=None, bars=False, recipe=recipe)
    made = recipes.slim('Training', epochs) if slim else recipes.supernet(epochs)
    model = net()
    made.evaluate(model)
    return model, made.trainer, made.module


# --- optimizer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'kind', 'settings'),
    [
        ({'optimizer': 'sgd', 'lr': 0.1}, torch.optim.SGD, {'lr': 0.1, 'momentum': 0.9, 'nesterov': True}),
        ({'optimizer': 'sgd', 'momentum': 0}, torch.optim.SGD, {'lr': 0.05, 'momentum': 0, 'nesterov': False}),
        ({'optimizer': 'adamw'}, torch.optim.AdamW, {'lr': 0.001}),
        (
            {'optimizer': 'rmsprop', 'momentum': 0.8},
            torch.optim.RMSprop,
            {'lr': 0.01, 'momentum': 0.8, 'eps': 0.0316, 'alpha': 0.9},
        ),
    ],
)
def test_norms_and_biases_do_not_decay(options, kind, settings):
    model = net()
    made = make_optimizer(TrainingRecipe(**options, weight_decay=0.25), model.parameters())
    assert type(made) is kind
    decays = {id(each): group['weight_decay'] for group in made.param_groups for each in group['params']}
    found = {name: decays[id(each)] for name, each in model.named_parameters()}
    assert found == {
        '0.weight': 0.25,
        '0.bias': 0,
        '1.weight': 0,
        '1.bias': 0,
        '5.weight': 0.25,
        '5.bias': 0,
    }
    for group in made.param_groups:
        assert {name: group[name] for name in settings} == settings


def test_rmsprop_moves_as_timms_does():
    """timm's adds 0.001 under the root; ours adds its root beside it, which agrees where gradients are not tiny."""
    weight, gradient = torch.zeros(1), torch.tensor([2.0])
    parameter = nn.Parameter(weight.clone())
    optimizer = make_optimizer(TrainingRecipe(optimizer='rmsprop', lr=0.1, momentum=0), [parameter])
    parameter.grad = gradient
    optimizer.step()
    assert parameter.item() == pytest.approx(-0.1 * 2 / (0.1 * 4 + 0.001) ** 0.5, rel=0.05)


def rates(total, epochs, **options):
    rate = LearningRate(TrainingRecipe(**options), total, epochs)
    return [rate(step) for step in range(total)]


def test_schedules():
    cosine = rates(40, 10, warmup_epochs=2)
    assert cosine[:9] == pytest.approx([(step + 1) / 9 for step in range(9)])
    assert cosine[24] == pytest.approx(0.5)  # half-way between the end of the warm-up and that of the training
    step = rates(40, 10, schedule='step', step_epochs=2.5, step_factor=0.5, warmup_epochs=0)
    assert step == [1.0] * 10 + [0.5] * 10 + [0.25] * 10 + [0.125] * 10
    assert rates(20, 10, schedule='constant', warmup_epochs=1) == pytest.approx([1 / 3, 2 / 3] + [1.0] * 18)
    assert rates(10, 1, warmup_epochs=5)[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])  # half of it


def test_clipping_and_accumulation():
    _, trainer, _ = fit(TrainingRecipe(clip=0.5, accumulate=2))
    assert (trainer.gradient_clip_val, trainer.accumulate_grad_batches, trainer.global_step) == (0.5, 2, 2)
    assert fit(TrainingRecipe())[1].global_step == 4
    still = fit(TrainingRecipe(optimizer='sgd', clip=1e-9, weight_decay=0))[0]
    torch.testing.assert_close(still[5].weight, net()[5].weight, atol=1e-7, rtol=0)


# --- loss -----------------------------------------------------------------------------------------


def test_label_smoothing_is_for_training_alone():
    module = module_of(TrainingRecipe(label_smoothing=0.2))
    output = module.model(PICTURES)
    smooth = functional.cross_entropy(output, LABELS, label_smoothing=0.2)
    torch.testing.assert_close(module.training_step((PICTURES, LABELS), 0), smooth)
    module.eval()
    plain = functional.cross_entropy(module.model(PICTURES), LABELS)
    torch.testing.assert_close(module.training_step((PICTURES, LABELS), 0), plain)  # scores of the supernet


def test_label_smoothing_of_several_labels():
    target = (torch.rand(8, 3) > 0.5).float()
    module = module_of(TrainingRecipe(label_smoothing=0.2), 'bce', target)
    wanted = functional.binary_cross_entropy_with_logits(module.model(PICTURES), 0.1 + 0.8 * target)
    torch.testing.assert_close(module.training_step((PICTURES, target), 0), wanted)


@pytest.mark.parametrize('loss', ['mse', functional.cross_entropy])
def test_other_losses_are_not_smoothed(loss):
    target = torch.randn(8, 3) if loss == 'mse' else LABELS
    with pytest.raises(ValueError, match=r'label_smoothing=0.1: applies to the losses cross_entropy and bce; give 0'):
        module_of(TrainingRecipe(label_smoothing=0.1), loss, target)


@pytest.mark.parametrize('options', [{'mixup': 1.0}, {'cutmix': 1.0}, {'mixup': 0.2, 'cutmix': 1.0}])
def test_mixing(options):
    module = module_of(TrainingRecipe(**options))
    seen = []
    module.model.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0]))
    torch.manual_seed(1)
    first = module.training_step((PICTURES, LABELS), 0)
    torch.manual_seed(1)
    assert torch.equal(
        module.training_step((PICTURES, LABELS), 0), first
    )  # channel sets of a step see the same mixture
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], PICTURES)
    plain = functional.cross_entropy(module.model(seen[0]), LABELS)
    assert abs(plain - first) > 1e-6  # the targets are mixed as well
    module.eval().training_step((PICTURES, LABELS), 0)
    assert torch.equal(seen[-1], PICTURES)


def test_mixing_of_several_labels():
    target = (torch.rand(8, 3) > 0.5).float()
    module = module_of(TrainingRecipe(mixup=1.0), 'bce', target)
    assert module.training_step((PICTURES, target), 0).requires_grad


@pytest.mark.parametrize(('loss', 'target'), [('mse', torch.randn(8, 3)), (functional.cross_entropy, LABELS)])
def test_what_cannot_be_mixed(loss, target):
    with pytest.raises(ValueError, match=r'mixup=0.2 mixes pictures with class indices .* Give mixup=0'):
        module_of(TrainingRecipe(mixup=0.2), loss, target)


# --- average, format, compilation, loggers --------------------------------------------------------


def averages(trainer):
    return [each for each in trainer.callbacks if hasattr(each, 'decay')]


def test_validation_and_result_are_those_of_the_average():
    recipe = partial(TrainingRecipe, optimizer='sgd', lr=0.5, weight_decay=0)
    plain, averaged = fit(recipe())[0], fit(recipe(ema=0.5))
    model, trainer, _ = averaged
    [average] = averages(trainer)
    assert average.state_dict()['steps'] == 4
    assert not torch.equal(plain[5].weight, model[5].weight)
    assert not torch.equal(plain[1].running_mean, model[1].running_mean)
    loss = functional.cross_entropy(model.eval()(PICTURES), LABELS)
    torch.testing.assert_close(trainer.callback_metrics['val_loss'], loss)


def test_a_supernet_is_averaged_by_its_own_stage():
    assert averages(fit(TrainingRecipe(ema=0.5), slim=False)[1]) == []


def test_channels_last():
    seen = []
    model = net()
    module = TaskModule(Task.of(None, None, model, (PICTURES, LABELS)), recipe=TrainingRecipe(channels_last=True))
    module.set_model(model)
    wide = torch.randn(2, 3, 6, 6)
    model[0] = nn.Conv2d(3, 4, 3)
    inputs, target = module.on_after_batch_transfer((wide, LABELS[:2]), 0)
    seen.append(inputs)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert not inputs.is_contiguous()
    assert torch.equal(inputs, wide)
    assert torch.equal(target, LABELS[:2])
    assert not model[0].weight.is_contiguous()
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_slim_networks_are_compiled(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, 'compile', lambda model: compiled.append(model) or model)
    model, _, module = fit(TrainingRecipe(compile=True))
    assert compiled == [model]
    assert module.called_model is model
    assert list(model.state_dict()) == list(net().state_dict())
    fit(TrainingRecipe(compile=True), slim=False)
    assert len(compiled) == 1


def test_a_logger_without_its_package(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(MissingExtraError, match=r"loggers='tensorboard': needs a package: pip install tensorboard"):
        check_loggers(['tensorboard'])
    with pytest.raises(MissingExtraError, match='pip install wandb'):
        fit(TrainingRecipe(loggers=['wandb']))


def test_loggers_get_the_metrics_of_every_epoch(monkeypatch, tmp_path):
    from nni_cafenet.stages import metrics_monitor
    from nni_cafenet.stages.training_curves import KeepCurves

    logged = []

    class Stub:
        def log_metrics(self, values, step):
            logged.append((step, sorted(values)))

        def finalize(self, status):
            logged.append(status)

    monkeypatch.setattr(metrics_monitor, '_logger', lambda name, folder: logged.append((name, folder)) or Stub())
    monkeypatch.setattr('nni_cafenet.pruning.training.check_loggers', lambda names: None)
    task = Task.of(None, None, net(), (PICTURES, LABELS))
    recipe = TrainingRecipe(loggers=['tensorboard'])
    evaluator = task_evaluator(
        task, DataLoader(DATA, 4), DataLoader(DATA, 8), trainer=TrainerOptions('cpu'), recipe=recipe
    )
    made = Recipes(evaluator, teacher=None, bars=False, recipe=recipe).slim('Training', 2)
    made.trainer.callbacks.append(KeepCurves(tmp_path / 'curves.jsonl'))
    made.evaluate(net())
    names = ['train_loss', 'val_acc', 'val_loss']
    assert logged == [('tensorboard', tmp_path), (1, names), (2, names), 'success']
    lines = (tmp_path / 'curves.csv').read_text().splitlines()
    assert lines[0] == 'epoch,train_loss,val_acc,val_loss'
    assert [line.partition(',')[0] for line in lines[1:]] == ['1', '2']
    assert isinstance(made.trainer, pl.Trainer)


def test_an_evaluator_for_nni():
    recipe = TrainingRecipe(optimizer='sgd', lr=0.1, ema=0.5)
    given = {'model': net(), 'train': DataLoader(DATA, 4), 'validate': DataLoader(DATA, 8), 'device': 'cpu'}
    made = training_evaluator(recipe, epochs=2, **given)
    model = net()
    made.evaluate(model)
    assert made.trainer.callback_metrics['val_acc'] >= 0
    assert [average.decay for average in averages(made.trainer)] == [0.5]
    assert averages(training_evaluator(recipe, epochs=2, supernet=True, **given).trainer) == []
    with pytest.raises(TypeError, match='recipe='):
        training_evaluator({'lr': 0.1}, epochs=2, **given)
    with pytest.raises(ValueError, match='mixup=0.2 mixes pictures'):
        training_evaluator(TrainingRecipe(mixup=0.2), epochs=2, loss=functional.cross_entropy, **given)
