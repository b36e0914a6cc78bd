from __future__ import annotations

import pytest

from nni_cafenet.errors import DamagedFileError, ResumeError
from nni_cafenet.stages.resume_check import changes_of, open_record, stages_record
from nni_cafenet.utils.json_records import read_record, write_record

RECORD = stages_record(
    supernet={'seed': 0, 'evaluator': {'learning_rate': 0.1, 'train_dataloaders': {'samples': 'aa', 'length': 5}}},
    scores={'score': 'loss'},
    search={'budget': {'macs': 90}},
    finalists={'finalists': 1, 'metric': None},
    weights='aaaa',
)


def changed(stage, **options):
    return {**RECORD, stage: {**RECORD[stage], **options}}


@pytest.fixture
def path(tmp_path):
    open_record(tmp_path / 'run.json', RECORD)
    return tmp_path / 'run.json'


def test_another_supernet_is_refused_and_what_differs_is_named(path):
    before = path.read_bytes()
    other = {'learning_rate': 1e-6, 'train_dataloaders': {'samples': 'bb', 'length': 5}}
    with pytest.raises(ResumeError) as error:
        open_record(path, changed('supernet', evaluator=other))
    said = str(error.value)
    assert said.startswith(
        f'directory={str(path.parent)!r} holds another run (evaluator.learning_rate: 0.1 there, 1e-06'
    )
    assert 'evaluator.train_dataloaders: the samples differ (aa there, bb now)' in said
    assert 'another directory' in said
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ('stage', 'options', 'said'),
    [
        ('search', {'budget': {'macs': 50}}, 'budget.macs: 90 there, 50 now'),
        ('finalists', {'metric': 'val_acc'}, "metric: None there, 'val_acc' now"),
        ('finalists', {'finalists': 3}, 'finalists: 1 there, 3 now'),
    ],
)
def test_later_stages_may_be_asked_for_something_else(path, caplog, stage, options, said):
    record = open_record(path, changed(stage, **options))
    assert said in caplog.text
    assert 'its supernet and its scores' in caplog.text
    assert list(record['histories'].values()) == ['history.jsonl']
    caplog.clear()
    assert open_record(path, changed(stage, **options)) == record == read_record(path, remedy='')
    assert not caplog.text


def test_other_scores_have_a_history_of_their_own_and_the_first_ones_serve_again(path, caplog):
    other = changed('scores', score='val_acc')
    first, *more = open_record(path, other)['histories'].values()
    assert first == 'history.jsonl'
    assert len(more) == 1
    assert "score: 'loss' there, 'val_acc' now" in caplog.text
    assert 'new scores' in caplog.text
    assert list(open_record(path, RECORD)['histories'].values()) == [first, *more]


def test_a_trained_supernet_keeps_its_weights_and_says_so(path, caplog):
    other = {**RECORD, 'weights': 'bbbb'}
    assert open_record(path, other)['weights'] == 'bbbb'  # nothing was trained yet
    assert not caplog.text
    assert open_record(path, RECORD, begun=True)['weights'] == 'bbbb'
    assert 'continues with its own' in caplog.text
    caplog.clear()
    assert open_record(path, other, begun=True) == read_record(path, remedy='')
    assert not caplog.text


def test_other_processes_write_nothing(path):
    before = path.read_bytes()
    open_record(path, changed('search', budget=1), make=False)
    assert path.read_bytes() == before


def test_long_lists_of_differences_are_cut_short():
    said = changes_of({'choices': list(range(1000))}, {'choices': list(range(1, 1001))})
    assert 'and 994 more' in said
    assert len(said) < 400


def test_code_that_differs_is_named():
    there, now = (f'User.training_step [code 3.11 {word}]' for word in ('aaaa', 'bbbb'))
    assert changes_of({'code': {'a': there}}, {'code': {'a': now}}) == 'the code of User.training_step differs'
    assert changes_of({'a': there}, {'a': there.replace('3.11', '3.12')}) == ''


def test_records_of_others(tmp_path):
    (tmp_path / 'run.json').write_text('{')
    with pytest.raises(DamagedFileError, match=r'run\.json is damaged'):
        open_record(tmp_path / 'run.json', RECORD)
    write_record(tmp_path / 'run.json', {'seed': 0})
    with pytest.raises(ResumeError, match='another version of nni-cafenet'):
        open_record(tmp_path / 'run.json', RECORD)
