from __future__ import annotations

import nni.nas.strategy
import pytest
from nni.nas.evaluator.pytorch import Classification
from nni.nas.experiment import NasExperiment, NasExperimentConfig

from nni_cafenet import CafeNet, ShortTrainings, WidthMutator
from nni_cafenet.testing import SmallResNet


@pytest.fixture(scope='module')
def space():
    return WidthMutator().mutate(SmallResNet, example_input=(1, 1, 8, 8))


def name(space, strategy, config=None):
    return NasExperiment(space, Classification(num_classes=10), strategy, config).config.experiment_name


@pytest.mark.parametrize(
    ('strategy', 'expected'),
    [
        (CafeNet('50%'), 'SmallResNet at 50%'),
        (CafeNet(['50%', '25%']), 'SmallResNet at 50%, 25%'),
        (ShortTrainings('40%'), 'SmallResNet at 40%'),
        (nni.nas.strategy.Random(), None),
    ],
)
def test_an_experiment_without_a_name_says_model_and_budget(space, strategy, expected):
    assert name(space, strategy) == expected


def test_a_name_stays_and_a_configuration_may_serve_twice(space):
    config = NasExperimentConfig('ts', 'simplified', 'local')
    assert name(space, CafeNet('50%'), config) == 'SmallResNet at 50%'
    assert name(space, CafeNet('25%'), config) == 'SmallResNet at 25%'
    config.experiment_name = 'mine'
    assert name(space, CafeNet('25%'), config) == 'mine'
