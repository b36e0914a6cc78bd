from __future__ import annotations

import pytest
from nni.experiment.config.training_services import LocalConfig  # noqa: F401 - registers the platform
from nni.nas.experiment import NasExperimentConfig

import nni_cafenet.nni_compat  # noqa: F401 - applies the patches


@pytest.mark.parametrize(
    ('options', 'seconds'),
    [
        ({}, None),
        ({'max_experiment_duration': '2m'}, 120),
        ({'max_experiment_duration': '2m', 'max_trial_duration': '5s'}, 120),
    ],
    ids=str,
)
def test_the_duration_of_the_experiment_is_that_of_the_engine(options, seconds, tmp_path):
    config = NasExperimentConfig('sequential', 'raw', 'local', experiment_working_directory=str(tmp_path), **options)
    assert config.canonical_copy().execution_engine.max_duration == seconds
