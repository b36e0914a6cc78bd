from __future__ import annotations

import copy
import gc
import json
import pickle

import nni
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import ModelStatus, SimplifiedModelSpace
from torch import nn

from nni_cafenet import EqualBins, WidthMutator
from nni_cafenet.space.trial_format import SimplifiedWidthSpace
from nni_cafenet.space.web_ui_summary import mutation_summary
from nni_cafenet.testing import SmallResNet


class OtherSpace(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.Linear(2, 2), nn.Identity()], label='layer')


class Tiny(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.fc = nn.Conv2d(1, width, 3), nn.Linear(width, 10)

    def forward(self, x):
        return self.fc(self.conv1(x).relu().mean((2, 3)))


def count(model):
    nni.report_final_result(float(sum(parameter.numel() for parameter in model.parameters())))


@pytest.fixture(scope='module')
def space():
    return WidthMutator(bins=EqualBins(2)).mutate(Tiny, example_input=(1, 1, 8, 8))


def test_released_nni_tells_the_web_ui_nothing(space):
    released = SimplifiedModelSpace(space, space.simplify(), FunctionalEvaluator(count)).freeze({'conv1': 4})
    assert 'mutation_summary' not in released._dump()


def test_the_parameter_of_a_trial_has_the_summary(space):
    frozen = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(count)).freeze({'conv1': 4})
    parameter = json.loads(nni.dump(frozen))
    # 6 x 6 positions of a 3 x 3 filter, then 10 outputs: 324 + 10 MACs and 10 + 10 parameters a channel, 10 biases
    summary = {'conv1': 4, 'MACs': 1336, 'MACs %': 50.0, 'params': 90}
    assert parameter['mutation_summary'] == frozen.mutation_summary == summary
    assert list(parameter['mutation_summary']) == list(summary)
    assert frozen.sample == {'conv1': 4}
    assert frozen.status == ModelStatus.Frozen


def test_it_survives_dump_load_copy_and_pickle(space):
    simplified = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(count))
    frozen = simplified.freeze({'conv1': 1})
    loaded = nni.load(nni.dump(frozen))
    assert type(loaded) is SimplifiedWidthSpace
    for other in (loaded, nni.load(nni.dump(loaded)), copy.deepcopy(frozen), pickle.loads(pickle.dumps(loaded))):
        assert other.sample == frozen.sample
        assert other.mutation_summary == frozen.mutation_summary == mutation_summary(space, {'conv1': 1})
    slim = loaded.executable_model()
    assert type(slim) is Tiny
    assert slim.conv1.out_channels == 1
    assert sum(parameter.numel() for parameter in slim.parameters()) == frozen.mutation_summary['params']


def test_a_space_that_is_not_frozen_has_none(space):
    simplified = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(count))
    assert simplified.mutation_summary == {}
    assert 'mutation_summary' not in simplified._dump()
    loaded = nni.load(nni.dump(simplified))  # in another process: what the widths cost is not known there
    assert loaded.freeze({'conv1': 4}).mutation_summary == {}


def test_every_way_to_a_network_gives_it(space):
    simplified = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(count))
    assert simplified.random().mutation_summary['MACs'] > 0
    assert simplified.default().mutation_summary['conv1'] == 8
    assert [model.mutation_summary['conv1'] for model in simplified.grid()] == list(space.choices['conv1'])


def test_the_space_is_not_kept_alive():
    space = WidthMutator(bins=EqualBins(2), verify=False).mutate(Tiny, example_input=(1, 1, 8, 8))
    simplified = SimplifiedModelSpace.from_model(space, None)
    assert simplified.width_space is space
    del space
    gc.collect()
    assert simplified.width_space is None
    assert 'mutation_summary' not in simplified.freeze({'conv1': 4})._dump()


def test_choices_of_the_evaluator_are_shown_and_do_not_disturb(space):
    evaluator = FunctionalEvaluator(count, lr=nni.choice('lr', [0.1, 0.2]), MACs=nni.choice('MACs', ['few', 'many']))
    frozen = SimplifiedModelSpace.from_model(space, evaluator).freeze({'conv1': 4, 'lr': 0.2, 'MACs': 'few'})
    assert frozen.mutation_summary == {
        'conv1': 4,
        'MACs': 1336,
        'MACs %': 50.0,
        'params': 90,
        'lr': 0.2,
        'MACs (evaluator)': 'few',
    }
    assert frozen.executable_model().conv1.out_channels == 4


def test_other_model_spaces_are_left_as_they_were():
    frozen = SimplifiedModelSpace.from_model(OtherSpace(), FunctionalEvaluator(count)).freeze({'layer': 1})
    assert type(frozen) is SimplifiedModelSpace
    written = ['status', 'model_symbol', 'model_args', 'model_kwargs', 'evaluator', 'sample', 'metrics']
    assert list(frozen._dump()) == written


@pytest.fixture
def announced(monkeypatch):
    """``announced(space)``: the search space that an experiment sends to NNI's manager."""
    sent = []
    monkeypatch.setattr(NasExperiment, 'update_search_space', lambda self, space: sent.append(space))

    def announced(space):
        experiment = NasExperiment.__new__(NasExperiment)
        experiment.model_space = space
        experiment._send_space_to_nni_manager()
        return sent[-1]

    return announced


def test_axes_are_announced_as_the_summary_names_them(announced):
    # NNI's own would be 'conv1', with a tick for each choice; the summary may shorten labels, or join groups in blocks.
    space = WidthMutator(bins=EqualBins(2)).mutate(SmallResNet, example_input=(1, 1, 8, 8))
    axes = announced(space)
    assert list(axes) == list(mutation_summary(space, space.full_widths))[: len(space.labels)]
    assert axes['c1'] == {'_type': 'uniform', '_value': [2, 16]}


def test_axes_of_other_spaces_are_announced_as_ever(announced):
    assert announced(OtherSpace()) == {'layer': {'_type': 'choice', '_value': [0, 1]}}


def test_a_live_model_cannot_be_sent():
    space = WidthMutator(bins=EqualBins(16)).mutate(SmallResNet(), example_input=(1, 1, 8, 8))
    frozen = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(count)).default()
    with pytest.raises(TypeError, match=r'Give WidthMutator\(\).mutate.*factory_of\(model, path\)'):
        nni.dump(frozen, pickle_size_limit=64 * 1024)


def test_a_small_live_model_is_sent_with_its_weights():
    model = Tiny(4)
    space = WidthMutator(bins=EqualBins(2)).mutate(model, example_input=(1, 1, 8, 8))
    frozen = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(count)).default()
    slim = nni.load(nni.dump(frozen, pickle_size_limit=64 * 1024)).executable_model()
    torch.testing.assert_close(slim.conv1.weight, model.conv1.weight)
