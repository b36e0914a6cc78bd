from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from nni_cafenet.search.history import Scored
from nni_cafenet.trials.file_queue import FileQueue


class NothingThereError(Exception):
    pass


def nothing():
    raise NothingThereError


def scored(number):
    return Scored({'a': number}, macs=number, params=1, score=number / 7, channel_sets={'a': [0]}, scores=(0.1, 0.2))


def taken(queue):
    """The widths that a trial finds now; whether there will be more."""
    found = []
    try:
        for widths in queue.tasks(nothing):
            found.append(widths['a'])
    except NothingThereError:
        return found, True
    return found, False


def test_widths_reach_the_trial_and_scores_come_back(tmp_path):
    main, trial = FileQueue(tmp_path / 'search' / '001'), FileQueue(tmp_path / 'search' / '001')
    main.put({'a': 3})
    tasks = trial.tasks(lambda: main.put({'a': 5}))
    assert next(tasks) == {'a': 3}
    assert main.take_scores() == []
    trial.reply(scored(3))
    assert main.take_scores() == [scored(3)]
    assert main.take_scores() == []
    assert next(tasks) == {'a': 5}  # after waiting for it
    trial.reply(scored(5))
    assert main.take_scores() == [scored(5)]
    main.close()
    assert list(tasks) == []


def test_scores_arrive_bit_by_bit_the_same(tmp_path):
    queue = FileQueue(tmp_path)
    odd = Scored({'a': 1}, 10, 2, 0.1 + 0.2, {'a': [0, 5]}, (math.pi, 1e-300))
    failed = Scored({'a': 2}, 10, 2, math.nan, {}, ())
    queue.reply(odd)
    queue.reply(failed)
    first, second = queue.take_scores()
    assert first == odd
    assert math.isnan(second.score)


def test_a_trial_that_was_started_again_passes_over_what_has_a_score(tmp_path):
    main = FileQueue(tmp_path)
    for number in (1, 2, 3):
        main.put({'a': number})
    FileQueue(tmp_path).reply(scored(1))
    assert taken(FileQueue(tmp_path)) == ([2, 3], True)


def test_a_closed_mailbox_is_read_to_its_end(tmp_path):
    main = FileQueue(tmp_path)
    main.put({'a': 1})
    main.close()
    assert taken(FileQueue(tmp_path)) == ([1], False)


def test_a_line_that_a_killed_process_left_unfinished(tmp_path, caplog):
    main = FileQueue(tmp_path)
    main.put({'a': 1})
    with open(tmp_path / 'widths.jsonl', 'a') as file:
        file.write('{"widths": {"a"')
    assert taken(FileQueue(tmp_path)) == ([1], True)
    FileQueue(tmp_path).put({'a': 2})
    assert taken(FileQueue(tmp_path)) == ([1, 2], True)
    assert 'partial line' in caplog.text


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(st.sampled_from(['give', 'work', 'take', 'restart']), max_size=40))
def test_every_width_is_scored_once_and_in_order(tmp_path_factory, actions):
    path = tmp_path_factory.mktemp('queue')
    main, trial = FileQueue(path), FileQueue(path)
    given, done, found = 0, [], []
    for action in [*actions, 'work', 'take']:
        if action == 'give':
            main.put({'a': given})
            given += 1
        elif action == 'restart':
            trial = FileQueue(path)
        elif action == 'take':
            found += [record.widths['a'] for record in main.take_scores()]
        else:
            numbers, more = taken(trial)
            for number in numbers:
                trial.reply(scored(number))
            done += numbers
            assert more
    assert done == found == list(range(given))


@pytest.mark.parametrize('name', ['001', 'a b'])
def test_the_folder_is_made(tmp_path, name):
    FileQueue(tmp_path / name)
    assert (tmp_path / name).is_dir()
