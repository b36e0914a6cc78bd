from __future__ import annotations

import pytest
from nni.nas.experiment import NasExperiment

from nni_cafenet.nni_compat.patches import patch_nni


@pytest.fixture
def experiment(monkeypatch):
    """An experiment whose manager is gone, and what it was told before."""
    patch_nni()
    experiment = NasExperiment.__new__(NasExperiment)
    experiment.told, experiment._proc, experiment._action, experiment.port = [], object(), 'create', None
    monkeypatch.setattr(NasExperiment, 'update_search_space', lambda self, space: self.told.append(space))
    monkeypatch.setattr('nni.experiment.experiment.rest.delete', lambda *_: experiment.told.append('stop'))
    experiment._proc = type('Process', (), {'wait': lambda self: None})()
    experiment.url_prefix = None
    return experiment


def test_the_search_space_is_taken_away_before_the_manager_stops(experiment):
    experiment._stop_nni_manager()
    assert experiment.told == [{}, 'stop']


def test_not_where_it_is_only_viewed(experiment):
    experiment._action = 'view'
    experiment._stop_nni_manager()
    assert experiment.told == ['stop']


def test_a_manager_that_does_not_answer_is_stopped_all_the_same(experiment, monkeypatch):
    def refuse(self, space):
        raise ConnectionError

    monkeypatch.setattr(NasExperiment, 'update_search_space', refuse)
    experiment._stop_nni_manager()
    assert experiment.told == ['stop']


def test_mending_twice_does_nothing(experiment):
    mended = NasExperiment._stop_nni_manager
    patch_nni()
    assert NasExperiment._stop_nni_manager is mended
