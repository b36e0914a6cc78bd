from __future__ import annotations

import csv
import json
import math
import shutil

import pytest
from hypothesis import given, strategies as st

from nni_cafenet.errors import FolderError
from nni_cafenet.search.history import History, Scored


def scored(width, score, macs=None, scores=None):
    return Scored(
        widths={'a': width, 'b': 2 * width},
        macs=100 * width if macs is None else macs,
        params=10 * width,
        score=score,
        channel_sets={'a': list(range(width)), 'b': list(range(2 * width))},
        scores=(score,) if scores is None else scores,
    )


def same(one, other):
    return json.dumps(one.to_json()) == json.dumps(other.to_json())


@pytest.mark.parametrize(
    'record',
    [
        scored(3, 0.1 + 0.2, scores=(0.1 + 0.2, math.nan, 1e-30)),
        scored(1, math.nan, scores=(math.nan, math.nan)),
        scored(2, math.inf),
        scored(2, -0.0, macs=2**60),
    ],
)
def test_a_record_survives_json_bit_for_bit(record):
    again = Scored.from_json(json.loads(json.dumps(record.to_json())))
    assert same(again, record)
    assert repr(again) == repr(record)


def test_records_are_on_disk_at_once_and_come_back_in_order(tmp_path):
    path = tmp_path / 'run' / 'history.jsonl'
    history = History(path, higher_is_better=False)
    assert not path.exists()
    records = [scored(width, 1 / width) for width in (3, 1, 2)]
    for count, record in enumerate(records, start=1):
        history.add(record)
        assert len(path.read_text().splitlines()) == count
    again = History(path, higher_is_better=False)
    assert list(again) == records == list(history)
    assert len(again) == 3


def test_a_file_that_somebody_removes_is_told_at_once(tmp_path):
    path = tmp_path / 'run' / 'history.jsonl'
    history = History(path, higher_is_better=False)
    history.add(scored(1, 1.0))
    shutil.rmtree(path.parent)
    with pytest.raises(FolderError, match=r"history.jsonl' was removed while the run was using it"):
        history.add(scored(2, 0.5))
    assert not path.parent.exists()


def test_without_a_file(tmp_path):
    history = History(higher_is_better=True)
    history.add(scored(1, 2.0))
    assert history[{'b': 2, 'a': 1}] == scored(1, 2.0)  # whatever the order of labels
    assert {'a': 1, 'b': 3} not in history
    assert not list(tmp_path.iterdir())


def test_a_width_is_kept_once(tmp_path):
    path = tmp_path / 'history.jsonl'
    history = History(path, higher_is_better=True)
    history.add(scored(1, 2.0))
    history.add(scored(1, 2.0))
    assert len(history) == len(History(path, higher_is_better=True)) == 1


@given(
    records=st.lists(
        st.tuples(
            st.integers(1, 6), st.sampled_from([0.5, 1.0, 2.0, math.inf, -math.inf, math.nan]), st.integers(1, 3)
        ),
        max_size=12,
    ),
    higher_is_better=st.booleans(),
)
def test_the_leader_is_the_best_at_any_time(records, higher_is_better):
    history = History(higher_is_better=higher_is_better)
    assert history.leader is None
    for width, score, macs in records:  # some widths come again, with another score
        history.add(scored(width, score, macs))
        assert [history.leader] == (history.best(1) or [None])


@pytest.mark.parametrize('cut', [1, 10, 40])
def test_an_unfinished_last_line_is_dropped(tmp_path, cut):
    path = tmp_path / 'history.jsonl'
    history = History(path, higher_is_better=True)
    for width in (1, 2, 3):
        history.add(scored(width, width))
    content = path.read_bytes()
    last = content.splitlines(keepends=True)[-1]
    path.write_bytes(content[: -len(last)] + last[:cut])
    history = History(path, higher_is_better=True)
    assert [record.score for record in history] == [1, 2]
    history.add(scored(3, 3))
    assert path.read_bytes() == content.replace(b'"score": 3', b'"score": 3')
    assert len(History(path, higher_is_better=True)) == 3


def test_a_last_line_that_lacks_its_break_only(tmp_path):
    path = tmp_path / 'history.jsonl'
    history = History(path, higher_is_better=True)
    for width in (1, 2):
        history.add(scored(width, float(width)))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    history = History(path, higher_is_better=True)
    assert len(history) == 2
    assert path.read_bytes() == content


def test_a_changed_digit_is_noticed(tmp_path):
    path = tmp_path / 'history.jsonl'
    History(path, higher_is_better=True).add(scored(2, 0.25))
    path.write_text(path.read_text().replace('0.25', '0.95'))
    with pytest.raises(ValueError, match='its checksum does not match'):
        History(path, higher_is_better=True)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / 'history.jsonl'
    history = History(path, higher_is_better=True)
    for width in (1, 2):
        history.add(scored(width, float(width)))
    path.write_text('{"score": 1,\n' + path.read_text())
    with pytest.raises(ValueError, match='line 1 is damaged .*so that its widths are scored again'):
        History(path, higher_is_better=True)


@pytest.mark.parametrize(('higher', 'order'), [(True, [3, 2, 1]), (False, [1, 2, 3])])
def test_best_first_and_failed_ones_left_out(higher, order):
    history = History(higher_is_better=higher)
    for width, score in [(2, 0.5), (4, math.nan), (1, 0.1), (3, 0.9)]:
        history.add(scored(width, score))
    assert [record.widths['a'] for record in history.best()] == order
    assert [record.widths['a'] for record in history.best(2)] == order[:2]
    assert len(history.best(10)) == 3
    fitness = [history.fitness(record) for record in history.best()]
    assert fitness == sorted(fitness, reverse=True)
    assert math.isnan(history.fitness(scored(4, math.nan)))


def test_of_equal_scores_the_cheaper_comes_first():
    for higher in (True, False):
        history = History(higher_is_better=higher)
        for width in (3, 1, 2):
            history.add(scored(width, 0.5))
        assert [record.widths['a'] for record in history.best()] == [1, 2, 3]


def test_nothing_good():
    history = History(higher_is_better=True)
    assert history.best(1) == []
    history.add(scored(1, math.nan))
    assert history.best(1) == []


def test_export(tmp_path):
    history = History(higher_is_better=False)
    for width, score in [(2, 0.1 + 0.2), (1, math.nan)]:
        history.add(scored(width, score))
    history.export(tmp_path, ['b', 'a'])
    records = json.loads((tmp_path / 'history.json').read_text())
    assert [Scored.from_json(record).widths for record in records] == [{'a': 2, 'b': 4}, {'a': 1, 'b': 2}]
    assert records[0]['score'] == 0.1 + 0.2
    assert records[1]['score'] is None
    with (tmp_path / 'history.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['score', 'temperature', 'macs', 'params', 'b', 'a', 'channel_sets']
    assert float(rows[0]['score']) == 0.1 + 0.2
    assert (rows[0]['macs'], rows[0]['params'], rows[0]['a'], rows[0]['b']) == ('200', '20', '2', '4')
    assert json.loads(rows[0]['channel_sets']) == {'a': [0, 1], 'b': [0, 1, 2, 3]}
    assert b'\r\r' not in (tmp_path / 'history.csv').read_bytes()
