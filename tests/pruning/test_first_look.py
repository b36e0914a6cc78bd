from __future__ import annotations

import dataclasses

import pytest
from helpers.crashes import Crash, crash_at
from helpers.models import two_convolutions
from torch.utils.data import DataLoader, Subset

from nni_cafenet import EqualBins, Evolution, Knapsack, RandomSearch, prune
from nni_cafenet.pruning.first_look import checked_epochs, first_look, searcher_of
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.testing import digits

TRAIN, TEST = Subset(digits('train'), range(160)), Subset(digits('test'), range(80))
IMPORTANCE = {'a': [2.0, 1.0]}


@pytest.fixture(scope='module')
def model():
    return two_convolutions()


def pruned(model, directory, budget='50%', **options):
    given = {'finetune_epochs': 1, 'holdout': 0.25, 'statistics_batches': 2, 'bins': EqualBins(4), 'min_ratio': 0.1}
    loaders = {'train': DataLoader(TRAIN, 32, shuffle=True), 'validate': DataLoader(TEST, 40)}
    options = {**given, **loaders, **options}
    return prune(model, budget, example_input=(1, 1, 8, 8), device='cpu', directory=directory, **options)


def test_a_network_without_a_supernet(model, tmp_path):
    result = pruned(model, tmp_path / 'out', search='knapsack')
    names = [network.name for network in result.report.networks]
    assert names[:2] == ['full', 'uniform (baseline)']
    assert names[-1] in ('pruned', 'uniform kept')
    assert len(result.history) == 1
    assert result.report.settings['epochs'] == '0'
    assert result.report.settings['search'].startswith('Knapsack(2 groups [')
    (scored,) = result.history
    full = result.report.networks[0].macs
    assert scored.macs <= full // 2
    assert scored.channel_sets == {label: list(range(width)) for label, width in scored.widths.items()}
    again = pruned(model, tmp_path / 'again', search='knapsack')
    assert (again.widths, again.metric) == (result.widths, result.metric)


@pytest.mark.parametrize('importance', ['taylor', 'activation', 'wanda'])
def test_importance_of_data(model, tmp_path, importance):
    options = {'importance': importance, 'finetune_epochs': 0, 'search': 'knapsack'}
    result = pruned(model, tmp_path / 'out', {'macs': '60%', 'params': '70%'}, **options)
    full = result.report.networks[0]
    assert result.macs <= 0.6 * full.macs
    assert result.params <= 0.7 * full.params


@pytest.mark.parametrize('finalists', [1, 40])
def test_a_first_look_beside_the_search(model, tmp_path, finalists):
    options = {'epochs': 1, 'search': Evolution(4, 2, initial='uniform'), 'finalists': finalists}
    result = pruned(model, tmp_path / 'out', ['60%', '40%'], **options).report
    rows = {network.name: network for network in result.networks}
    looks = [rows[f'knapsack (first look), {name}'] for name in ('60%', '40%')]
    assert looks[0].macs > looks[1].macs
    for look, share in zip(looks, (0.6, 0.4)):
        assert look.macs <= share * rows['full'].macs
        assert look.inherited is not None
        if finalists == 40:
            assert look.finetuned is not None
    assert all(any(each.macs == look.macs for each in result.candidates) for look in looks)


def test_killed_and_started_again_it_ends_the_same(model, tmp_path, monkeypatch):
    options = {'epochs': 1, 'search': Evolution(4, 2, initial='uniform'), 'finetune_epochs': 0}
    whole = pruned(model, tmp_path / 'whole', **options)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, 'score', crash_at(3, Scorer.score))
        with pytest.raises(Crash):
            pruned(model, tmp_path / 'killed', **options)
    result = pruned(model, tmp_path / 'killed', **options)
    assert result.widths == whole.widths
    assert [each.widths for each in result.history] == [each.widths for each in whole.history]

    def untimed(report):
        return [dataclasses.replace(network, measured_ns=None, measured_range=None) for network in report.networks]

    assert untimed(result.report) == untimed(whole.report)


@pytest.mark.parametrize(
    ('options', 'error', 'said'),
    [
        ({'search': 'greedy'}, ValueError, "search='greedy' must be 'knapsack', or a searcher"),
        ({'search': 3}, TypeError, 'search'),
        ({'search': 'knapsack', 'importance': None}, ValueError, "importance=None: search='knapsack' chooses widths"),
        ({'search': 'knapsack', 'epochs': -1}, ValueError, 'epochs=-1 must be'),
    ],
)
def test_bad_arguments(model, tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        pruned(model, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


def test_which_searcher():
    assert searcher_of('knapsack', IMPORTANCE) == Knapsack(IMPORTANCE)
    assert searcher_of(None, IMPORTANCE) == Evolution(initial=[Knapsack(IMPORTANCE), 'uniform'])
    assert searcher_of(None, None) == Evolution(initial='uniform')
    own = Evolution(10, 3, initial='uniform', floor=0.5)
    assert searcher_of(own, IMPORTANCE) == Evolution(10, 3, initial=[Knapsack(IMPORTANCE), 'uniform'], floor=0.5)
    for other in (Evolution(10, 3), RandomSearch(5), Evolution(4, 2, initial=[{'a': 1}])):
        assert searcher_of(other, IMPORTANCE) == other
        assert first_look(other) is None
    assert first_look(searcher_of(own, IMPORTANCE)) == Knapsack(IMPORTANCE)
    assert [checked_epochs(None, search, 'group') for search in (None, 'knapsack')] == [5, 0]
    assert checked_epochs(2, 'knapsack', 'group') == 2
