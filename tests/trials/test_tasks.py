from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)

from nni_cafenet.errors import ResumeError
from nni_cafenet.stages.context import StageContext
from nni_cafenet.stages.finalists import Finalist
from nni_cafenet.stages.folder import RunFolder
from nni_cafenet.stages.resume_check import stages_record
from nni_cafenet.trials import tasks
from nni_cafenet.trials.file_queue import FileQueue
from nni_cafenet.trials.tasks import rounded, run_task
from nni_cafenet.utils.json_records import write_record
from nni_cafenet.utils.rng import random_state, seeded
from nni_cafenet.utils.torch_files import save_torch


@pytest.fixture
def reported(monkeypatch):
    """What is reported to NNI: ``reported.intermediate``, ``reported.final``."""

    class Channel(TrialCommandChannel):
        def __init__(self):
            self.intermediate, self.final = [], []

        def receive_parameter(self):
            return None

        def send_metric(self, type, parameter_id, trial_job_id, sequence, value):
            (self.final if type == 'FINAL' else self.intermediate).append(value)

    before, channel = get_default_trial_command_channel(), Channel()
    monkeypatch.setattr('nni.trial._params', {'parameter_id': 1, 'parameters': {}})
    set_default_trial_command_channel(channel)
    yield channel
    set_default_trial_command_channel(before)


@pytest.fixture(scope='module')
def texts(digits_run):
    """``texts(weights)``: a run's ``setup.json``, and its space."""
    made = {}

    def text(weights='fresh'):
        if weights not in made:
            strategy = digits_run.make('sequential').strategy
            options = strategy.finalist_options.__class__(number=2, weights=weights, metric='val_loss')
            experiment = digits_run.make('sequential')
            setup = StageContext(
                experiment.model_space,
                experiment.evaluator,
                strategy.options,
                options,
                strategy.finalist_evaluator,
            )
            made[weights] = setup.dump(), setup.space
        return made[weights]

    return text


def keep_space(path, macs, space):
    supernet = {'macs': macs, 'choices': {k: list(v) for k, v in space.choices.items()}}
    write_record(path / 'run.json', stages_record(supernet=supernet, scores={}, search={}, finalists={}))


def prepare(path, text, space):
    """The folder of a run before its first trial."""
    folder = RunFolder(path)
    keep_space(path, space.macs(space.full_widths), space)
    folder.write_setup(text)
    with seeded(0):
        save_torch({'weights': space.state_dict(), 'random': random_state()}, folder.initial)
    return folder


@pytest.fixture(scope='module')
def trained(tmp_path_factory, texts):
    """The folder of a run whose supernet is trained."""
    folder = prepare(tmp_path_factory.mktemp('trained'), *texts())
    run_task(folder, {'stage': 'supernet'})
    return folder


def test_a_trial_that_nobody_needs_does_nothing(tmp_path):
    run_task(RunFolder(tmp_path), {'stage': 'none'})
    assert list(tmp_path.iterdir()) == []


def test_another_model_than_that_of_the_main_process_is_refused(tmp_path, texts):
    text, space = texts()
    folder = prepare(tmp_path, text, space)
    keep_space(tmp_path, 5, space)
    with pytest.raises(ResumeError, match='macs: 5 there'):
        run_task(folder, {'stage': 'supernet'})


# --- the supernet ---------------------------------------------------------------------------------


def test_the_supernet_is_trained_and_looked_at_every_epoch(tmp_path, texts, reported):
    folder = prepare(tmp_path, *texts())
    run_task(folder, {'stage': 'supernet'})
    assert folder.trained
    assert len(reported.intermediate) == 3
    for look in reported.intermediate:
        assert look.keys() == {'default', 'largest', 'smallest', 'training loss'}
        assert all(math.isfinite(value) for value in look.values())
    assert reported.final == []


def test_looking_does_not_change_the_training(tmp_path, texts, reported, trained, monkeypatch):
    monkeypatch.setattr(tasks, '_LookEveryEpoch', lambda *_: pl.Callback())
    folder = prepare(tmp_path, *texts())
    run_task(folder, {'stage': 'supernet'})
    assert reported.intermediate == []
    looked, plain = (each.load_checkpoint()['state_dict'] for each in (trained, folder))
    assert all(torch.equal(looked[name], plain[name]) for name in looked)


# --- search ---------------------------------------------------------------------------------------


def test_widths_of_the_mailbox_are_scored_as_in_process(trained, texts, reported):
    setup = StageContext.load(texts()[0])
    assert setup.supernet.restore(trained)
    widths = [setup.space.smallest_widths, setup.space.uniform_widths(0.5), setup.space.full_widths]
    queue = FileQueue(trained.search / '001')
    for each in widths:
        queue.put(each)
    queue.close()
    run_task(trained, {'stage': 'search', 'queue': '001'})
    found = queue.take_scores()
    assert found == [setup.scorer.score(each) for each in widths]
    best = min(found, key=lambda scored: scored.score)
    assert reported.intermediate[-1] == {
        'default': rounded(best.shown['val_loss']),
        'score': rounded(best.score),
        'scored widths': 3,
    }
    scores = [report['score'] for report in reported.intermediate]
    assert scores == sorted(scores, reverse=True)


def test_widths_come_with_the_metric_of_the_finalists(trained, texts):
    setup = StageContext.load(texts()[0])
    assert setup.supernet.restore(trained)
    queue = FileQueue(trained.search / '003')
    queue.put(setup.space.full_widths)
    queue.close()
    run_task(trained, {'stage': 'search', 'queue': '003'})
    (found,) = queue.take_scores()
    assert found.shown.keys() == {'val_loss'}  # without the noise of the training step, and not at a temperature
    assert 0 < found.shown['val_loss'] != found.score
    assert tasks.shown_value(setup, found) == found.shown['val_loss']


def test_a_mailbox_without_widths(trained, reported):
    FileQueue(trained.search / '002').close()
    run_task(trained, {'stage': 'search', 'queue': '002'})
    assert reported.intermediate == []
    assert FileQueue(trained.search / '002').take_scores() == []


def test_nothing_is_scored_on_a_supernet_in_training(tmp_path, texts):
    folder = prepare(tmp_path, *texts())
    FileQueue(folder.search / '001').close()
    with pytest.raises(ResumeError, match='supernet is incomplete'):
        run_task(folder, {'stage': 'search', 'queue': '001'})


# --- finalists ------------------------------------------------------------------------------------


@pytest.mark.parametrize('weights', ['fresh', 'inherited'])
def test_a_finalist_is_trained_and_reported(trained, texts, reported, weights):
    setup = StageContext.load(texts(weights)[0])
    setup.supernet.restore(trained)
    trained.write_setup(texts(weights)[0])
    finalist = Finalist(weights, setup.scorer.score(setup.space.smallest_widths))
    run_task(trained, {'stage': 'finalist', 'finalist': finalist.to_json()})
    (final,) = reported.final
    assert len(reported.intermediate) == 3
    assert final == {
        'default': rounded(reported.intermediate[-1]['default']),
        'score': rounded(finalist.scored.score),
    }
    assert (trained.finalist(weights) / 'result.json').exists()


def test_numbers_as_the_web_ui_shows_them():
    assert rounded(1234567) == 1234567
    assert isinstance(rounded(1234567), int)
    assert rounded(0.123456789) == 0.123457
    assert rounded(1234567.8) == 1234570.0
    assert math.isnan(rounded(math.nan))
