from __future__ import annotations

import math
import types

import nni
import pytest

from nni_cafenet.search.history import Scored
from nni_cafenet.trials import shown_scores
from nni_cafenet.trials.shown_scores import EndedTrial, ShownScores


class Space:
    choices = {'conv1': range(1, 9)}
    full_widths = {'conv1': 8}
    checked = staticmethod(dict)

    def macs(self, widths):
        return 10 * widths['conv1']

    params = macs


def scored(width, score, **shown):
    return Scored({'conv1': width}, 10 * width, 10 * width, score, {}, shown=shown)


@pytest.fixture
def make():
    """``make(score)``: what is shown, and the list of what NNI's manager gets."""

    def make(score='loss', metric='val_acc', higher_is_better=False):
        options = types.SimpleNamespace(score=score, higher_is_better=higher_is_better)
        context = types.SimpleNamespace(space=Space(), options=options, metric_name=metric)
        runner, records = types.SimpleNamespace(records=0), []

        def show(model):
            runner.records += 1
            records.append(model._dump())

        runner.show = show
        return ShownScores(runner, context), records

    return make


def test_a_width_is_a_trial_that_has_ended(make):
    shown, records = make()
    shown.add(scored(4, 0.5, val_acc=0.875))
    (record,) = records
    assert record['name'] == 'widths'
    assert record['mutation_summary'] == {'stage': 'search', 'conv1': 4, 'MACs': 40, 'MACs %': 50.0, 'params': 40}
    assert record['details'] == {'widths': {'conv1': 4}, 'MACs': 40, 'params': 40}
    assert record['ended']['final'] == {'default': 0.875, 'score': 0.5}
    assert 0 <= record['ended']['end'] - record['ended']['start'] < 60_000


def test_it_travels_as_data(make):
    shown, records = make()
    shown.add(scored(4, 0.5, val_acc=0.875))
    model = EndedTrial._load(**records[0])
    assert nni.load(nni.dump(model))._dump() == records[0]


def test_one_axis_has_one_unit(make):
    shown, records = make('loss', 'val_acc')
    shown.add(scored(4, 0.5))
    assert records == []
    shown, records = make('val_acc', 'val_acc', higher_is_better=True)
    shown.add(scored(4, 0.5))
    assert records[0]['ended']['final'] == {'default': 0.5, 'score': 0.5}


def test_a_score_that_is_no_number_is_not_shown(make):
    shown, records = make()
    shown.add(scored(4, math.nan, val_acc=0.1))
    assert records == []


def test_a_long_search_shows_the_best_of_more_and_more(make, monkeypatch):
    monkeypatch.setattr(shown_scores, '_AS_MANY', 2)
    shown, records = make()
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.55, 0.4, 0.45, 0.44]
    for number, score in enumerate(scores, start=1):
        shown.add(scored(1, score, val_acc=number / 10))
    assert [record['ended']['final']['score'] for record in records] == [0.9, 0.8, 0.6, 0.5, 0.4]
