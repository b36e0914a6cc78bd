from __future__ import annotations

import pytest

from nni_cafenet.errors import DamagedFileError
from nni_cafenet.latency.cache import TimeCache
from nni_cafenet.utils.json_records import append_record


def test_the_median_counts():
    measured = TimeCache('here')
    assert (measured.median('relu'), measured.rounds('relu')) == (None, 0)
    for time in (30, 10, 20):
        measured.add('relu', time)
    assert (measured.median('relu'), measured.rounds('relu')) == (20, 3)


def test_what_cannot_be_measured_is_not_tried_again():
    measured = TimeCache('here')
    measured.add('nms', None)
    assert measured.median('nms') is None
    assert measured.rounds('nms') > 1000


def test_times_are_read_again_in_the_same_environment(tmp_path):
    path = tmp_path / 'new' / 'times.jsonl'
    for environment, time in (('here', 10), ('there', 99), ('here', 20)):
        measured = TimeCache(environment, path)
        measured.add('relu', time)
        measured.add('nms', None)
        measured.save()
    again = TimeCache('here', path)
    assert (again.median('relu'), again.rounds('relu'), again.median('nms')) == (15, 2, None)
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / 'times.jsonl'
    append_record(path, {'on': 'here', 'ns': {'relu': [7]}})
    path.write_text(path.read_text() + '{"on": "here", "ns": {"re')
    assert TimeCache('here', path).median('relu') == 7


@pytest.mark.parametrize('text', ['no json\n', '[1]\n', '{"on": "here"}\n'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / 'other.jsonl'
    path.write_text(text)
    with pytest.raises(DamagedFileError, match=r'other.jsonl, line 1 is damaged .*delete it to measure anew'):
        TimeCache('here', path)


@pytest.mark.parametrize('record', [{'on': 'here'}, {'on': 'here', 'ns': {'relu': ['x']}}])
def test_other_records_are_refused(tmp_path, record):
    path = tmp_path / 'other.jsonl'
    append_record(path, record)
    with pytest.raises(ValueError, match=r'other.jsonl.* is not a file of measured times .*Delete it to measure again'):
        TimeCache('here', path)
