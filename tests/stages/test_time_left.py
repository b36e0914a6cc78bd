from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.tiny_training import Sum, fit

from nni_cafenet.stages.progress_bar import EpochBar
from nni_cafenet.stages.step_clock import StepTime
from nni_cafenet.stages.time_left import TimeLeft, Work
from nni_cafenet.utils import write_record

WORK = Work(steps=1_000, networks=1, forwards=2, width=10.0, widths=60, scored=0, finalist=100, share=0.5, finalists=3)
STEP = StepTime(whole=0.4, forward=0.1, rest=0.05)


@pytest.fixture
def times(tmp_path):
    return lambda work=WORK, show=True: TimeLeft(work, tmp_path / 'speed.json', show=show)


def lines(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line]


def test_one_line_before_anything_long(times, capsys):
    left = times()
    left.stepped(STEP, left=1.0)
    left.stepped(StepTime(9.0, 2.0, 1.0), left=1.0)
    assert lines(capsys) == ['Expected: supernet ~7 min, search ~60 s, finalists ~60 s.']


def test_a_resumed_run_counts_what_is_left(times, capsys):
    times().stepped(STEP, left=0.25)
    assert lines(capsys) == ['Expected: supernet ~2 min, search ~60 s, finalists ~60 s.']
    again = times(replace(WORK, widths=20, scored=40, finalists=1))
    again.resumed()
    assert lines(capsys) == ['Expected: search ~20 s, finalists ~20 s.']
    assert again.of_search(60) == 'expected: ~20 s'
    done = times(replace(WORK, widths=0, scored=60, finalists=0))
    done.resumed()
    assert lines(capsys) == []
    assert done.of_search(60) == done.of_finalists(0) == ''


def test_without_a_timed_step_the_first_score_counts(times, capsys, monkeypatch):
    now = iter([0.0, 1.0, 5.0, 9.0])
    monkeypatch.setattr('nni_cafenet.stages.time_left.perf_counter', lambda: next(now))
    left = times()
    left.resumed()
    assert left.of_search(60) == ''
    score = left.watched(dict)
    assert score({'a': 1}) == {'a': 1}
    assert lines(capsys) == ['Expected: search ~60 s, finalists ~45 s.']
    assert left.watched(dict) is dict
    assert left.of_finalists(3) == 'expected: ~45 s'


def test_a_damaged_file_or_a_full_disk_changes_nothing(times, tmp_path, capsys, monkeypatch):
    (tmp_path / 'speed.json').write_text('{"whole": 1')
    left = times()
    left.resumed()
    assert lines(capsys) == []

    def full(*arguments):
        raise OSError('no space')

    monkeypatch.setattr('nni_cafenet.stages.time_left.write_record', full)
    left.stepped(STEP, left=1.0)
    assert len(lines(capsys)) == 1


def test_only_one_process_shows_it(times, capsys, tmp_path):
    times(show=False).stepped(STEP, left=1.0)
    assert lines(capsys) == []
    assert not (tmp_path / 'speed.json').exists()


def test_a_file_of_another_version_is_timed_anew(times, tmp_path, capsys):
    write_record(tmp_path / 'speed.json', {'seconds_per_forward': 1.0})
    times().resumed()
    assert lines(capsys) == []


def test_what_has_no_known_length_is_left_out(times, capsys):
    times(replace(WORK, steps=None, finalist=None)).stepped(STEP, left=1.0)
    assert lines(capsys) == ['Expected: search ~60 s.']


def test_a_bar_of_epochs_shows_its_time_before_the_first_one_ends(monkeypatch):
    now = iter(range(0, 10_000, 3))
    monkeypatch.setattr('nni_cafenet.stages.progress_bar.time.monotonic', lambda: next(now))
    shown = []
    bar = EpochBar('Supernet')
    create = bar.on_train_start

    def on_train_start(trainer, module):
        create(trainer, module)
        monkeypatch.setattr(bar._bar, 'set_postfix_str', shown.append)

    monkeypatch.setattr(bar, 'on_train_start', on_train_start)
    fit(Sum(), [bar], 4, max_epochs=10)
    assert shown == ['expected: ~2 min'] * 4  # 3 s for each of 40 steps, in the first epoch alone
