from __future__ import annotations

import dataclasses
import math
import pickle

import pytest

from nni_cafenet import Fixed, LocallyFree
from nni_cafenet.options import FinalistOptions
from nni_cafenet.stages.options import RunOptions
from nni_cafenet.supernet.training_options import TrainingOptions
from nni_cafenet.utils.validation import check_instance, check_whole_number

GIVEN = {
    'sharing': None,
    'channel_sets_per_step': 3,
    'score': 'loss',
    'higher_is_better': None,
    'channel_sets_per_score': None,
    'holdout': 0.25,
    'score_data': None,
    'statistics_batches': 0,
    'seed': 0,
    'memory': 'lean',
    'temperature': 3,
    'ema': None,
    'training': TrainingOptions(ema=0.9),
}
FINALISTS = {'number': 2, 'weights': 'fresh', 'metric': None, 'higher_is_better': None}


def test_what_is_left_open_is_filled_in():
    options = RunOptions.checked(**GIVEN)
    assert isinstance(options.sharing, LocallyFree)
    assert options.channel_sets_per_score == 3
    assert options.higher_is_better is False
    assert RunOptions.checked(**{**GIVEN, 'score': 'val_acc'}).higher_is_better is True
    assert RunOptions.checked(**{**GIVEN, 'score': 'val_error'}).higher_is_better is False


def test_what_is_given_is_kept():
    sharing, loader = Fixed(), [1, 2]
    given = {**GIVEN, 'sharing': sharing, 'channel_sets_per_score': 1, 'higher_is_better': True, 'score_data': loader}
    options = RunOptions.checked(**given)
    assert {field.name for field in dataclasses.fields(options)} == GIVEN.keys()
    assert options.training == TrainingOptions(ema=0.9)
    assert (options.sharing, options.score_data, options.channel_sets_per_score) == (sharing, loader, 1)
    assert options.higher_is_better is True


@pytest.mark.parametrize(
    ('name', 'value', 'error', 'says'),
    [
        ('sharing', 'leftmost', TypeError, "sharing='leftmost' must be a Sharing"),
        ('channel_sets_per_step', 0, ValueError, 'channel_sets_per_step=0 must be a whole number, 1 or more'),
        ('channel_sets_per_step', 2.0, ValueError, 'channel_sets_per_step=2.0'),
        ('channel_sets_per_step', True, ValueError, 'channel_sets_per_step=True'),
        ('channel_sets_per_score', 0, ValueError, 'channel_sets_per_score=0'),
        ('holdout', 0, ValueError, 'holdout=0 must be a number between 0 and 1'),
        ('holdout', 1.0, ValueError, 'holdout=1.0'),
        ('holdout', '10%', ValueError, "holdout='10%'"),
        ('statistics_batches', -1, ValueError, 'statistics_batches=-1 must be a whole number, 0 or more'),
        ('seed', None, ValueError, 'seed=None'),
        ('temperature', 0, ValueError, 'temperature=0 must be a number above 0, or None'),
        ('temperature', '2', ValueError, "temperature='2'"),
        ('temperature', math.inf, ValueError, 'temperature=inf'),
        ('temperature', True, ValueError, 'temperature=True'),
        ('memory', 'slow', ValueError, "memory='slow' must be one of auto, fast, lean"),
    ],
)
def test_what_is_out_of_range_is_refused(name, value, error, says):
    with pytest.raises(error, match=says):
        RunOptions.checked(**{**GIVEN, name: value})


def test_options_that_an_earlier_version_pickled():
    options = RunOptions.checked(**GIVEN)
    del vars(options)['memory']
    assert pickle.loads(pickle.dumps(options)).memory == 'auto'


def test_finalists():
    assert FinalistOptions(**FINALISTS) == FinalistOptions(number=2)
    assert FinalistOptions(**{**FINALISTS, 'number': 0}).number == 0
    with pytest.raises(ValueError, match="finalist_weights='old' must be one of fresh, inherited"):
        FinalistOptions(**{**FINALISTS, 'weights': 'old'})
    with pytest.raises(ValueError, match='finalists=-1 must be a whole number, 0 or more'):
        FinalistOptions(**{**FINALISTS, 'number': -1})


def test_helpers_return_what_they_checked():
    assert check_whole_number('n', 3, 3) == 3
    assert check_instance('n', 'text', str) == 'text'
