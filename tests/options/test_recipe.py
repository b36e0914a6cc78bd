"""The training recipe: values, defaults by optimizer, and what has no effect."""

from __future__ import annotations

import pytest

from nni_cafenet import TrainingRecipe
from nni_cafenet.cli.config import Configuration, Given
from nni_cafenet.errors import ConfigurationError


@pytest.mark.parametrize(
    ('optimizer', 'lr', 'decay'), [('adamw', 0.001, 0.01), ('sgd', 0.05, 5e-4), ('rmsprop', 0.01, 1e-5)]
)
def test_defaults_follow_the_optimizer(optimizer, lr, decay):
    made = TrainingRecipe(optimizer=optimizer)
    assert (made.peak_lr, made.decay, made.inertia) == (lr, decay, 0.9)
    assert TrainingRecipe(optimizer=optimizer, lr=0.3, weight_decay=0).decay == 0


def test_steps_have_defaults_of_their_own():
    assert TrainingRecipe(schedule='step').steps == (30, 0.1)
    assert TrainingRecipe(schedule='step', step_epochs=2.4, step_factor=0.97).steps == (2.4, 0.97)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'momentum': 0.9}, r"momentum=0.9 has no effect with optimizer='adamw'; give sgd or rmsprop, or omit it\."),
        ({'step_epochs': 3}, r"step_epochs=3.0 has no effect with schedule='cosine'; give schedule='step'"),
        ({'step_factor': 0.5, 'schedule': 'constant'}, "step_factor=0.5 has no effect with schedule='constant'"),
        ({'optimizer': 'lion'}, "optimizer='lion' must be one of adamw, sgd, rmsprop"),
        ({'label_smoothing': 1}, 'label_smoothing=1 must be a number from 0 to 0.9'),
        ({'ema': 1}, 'ema=1 must be a number between 0 and 1, or None'),
        ({'accumulate': 0}, 'accumulate=0 must be a whole number, 1 or more'),
        ({'randaugment': 31}, 'randaugment=31 must be a whole number, from 0 to 30, or None'),
        ({'clip': 0}, 'clip=0 must be a number above 0, or None'),
        ({'loggers': ['csv']}, r"loggers=.*'csv'.* must be a list of tensorboard, wandb"),
        ({'loggers': 'wandb'}, "loggers='wandb' must be a list"),
        ({'loggers': ['wandb', 'wandb']}, 'must be a list of tensorboard, wandb'),
    ],
)
def test_what_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        TrainingRecipe(**options)


def test_a_configuration_lists_what_has_no_effect():
    given = {'model.name': 'resnet18', 'data.source': 'digits', 'output': 'x'}
    given = {path: Given(path, value) for path, value in given.items()}
    with pytest.raises(
        ConfigurationError, match=r'2 problems\n  training.momentum: 0.9: has no effect.*\n  training.step'
    ):
        Configuration.checked(
            None,
            {**given, 'training.momentum': Given('--momentum', 0.9), 'training.step_epochs': Given('--step-epochs', 2)},
        )
