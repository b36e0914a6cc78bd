import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace
from zoo.models import LIBRARIES, Case, cases
from zoo.ours import channel_sets, check, measure

CASE = Case('any', 'classification', (3, 6, 6))


@pytest.fixture
def space():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 2, 1)
    )
    return WidthSpace(model.double(), example_input=(1, 3, 6, 6))


def test_smallest_largest_and_random_widths_are_checked(space):
    found = {name: sets for name, _, sets in channel_sets(space, draws=2)}
    assert list(found) == ['the smallest widths', 'the largest widths', 'random widths 1', 'random widths 2']
    assert [len(chosen) for chosen in found['the smallest widths'].values()] == [1, 1]
    assert [chosen.tolist() for chosen in found['the largest widths'].values()] == [[*range(6)], [*range(4)]]
    for sets in found.values():
        space.activate({label: len(chosen) for label, chosen in sets.items()}, sets)  # valid, or it raises


def test_no_width_is_checked_below_those_at_which_the_model_runs():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            rows = self.weight.reshape(1, len(self.weight), -1)
            weight = nn.functional.batch_norm(rows, None, None, training=True).view_as(self.weight)
            return nn.functional.conv2d(x, weight, self.bias)

    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Standardized(6, 4, 1), nn.Conv2d(4, 2, 1))
    space = WidthSpace(model.double(), example_input=(1, 3, 6, 6))
    found = {name: sets for name, _, sets in channel_sets(space, draws=1)}
    assert [len(chosen) for chosen in found['the smallest widths'].values()] == [2, 1]
    assert check(space, CASE, draws=1)['verdict'] == 'exact'


def test_what_is_right_is_exact(space):
    row = check(space, CASE, draws=2)
    assert row == {'macs_exact': True, 'params_exact': True, 'error': 0.0, 'verdict': 'exact', 'why': ''}


def test_a_slim_model_that_differs_in_one_mode_is_found(space, monkeypatch):
    right = space.slim

    def slim(widths, sets):
        model = right(widths, sets)
        with torch.no_grad():
            model[1].running_mean.add_(1.0)
        return model

    monkeypatch.setattr(space, 'slim', slim)
    row = check(space, CASE, draws=0)
    assert row['verdict'] == 'wrong'
    assert row['error'] > 1e-3
    assert row['why'].startswith('outputs at the ')
    assert row['why'].endswith(' widths in eval mode')


def test_wrong_costs_are_found(space, monkeypatch):
    macs, params = space.macs, space.params
    monkeypatch.setattr(space, 'macs', lambda widths: macs(widths) + 1)
    assert check(space, CASE, draws=0)['why'] == 'MACs'
    monkeypatch.setattr(space, 'params', lambda widths: params(widths) - 1)
    row = check(space, CASE, draws=0)
    assert (row['verdict'], row['why'], row['error']) == ('wrong', 'MACs, parameters', 0.0)


@pytest.mark.parametrize(
    'name',
    ['transformers:bert', 'transformers:focalnet', 'transformers:llama', 'transformers:siglip', 'transformers:t5'],
)
def test_small_models_of_other_packages_are_exact_and_free(name):
    pytest.importorskip(LIBRARIES[name.partition(':')[0]].package)
    row = measure(cases()[name], draws=1)
    assert (row['verdict'], row['why']) == ('exact', '')
    assert row['share_that_can_change'] >= 0.95
