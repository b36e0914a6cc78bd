from __future__ import annotations

import threading
import time

import pytest

from nni_cafenet.trials import heartbeat as session_module
from nni_cafenet.trials.heartbeat import RunHeartbeat, TrialClient
from nni_cafenet.utils.json_records import read_record


class LeftError(Exception):
    """What a trial ends with here, in place of the end of its process."""


@pytest.fixture
def clock(monkeypatch):
    """``clock.now``: the time, which passes while anybody sleeps; ``clock.events``: what happens at some time."""

    class Clock:
        now = 0.0
        events = []

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds
            for event in [event for event in self.events if event[0] <= self.now]:
                self.events.remove(event)
                event[1]()

    clock = Clock()
    clock.events = []
    monkeypatch.setattr(session_module, 'time', clock)
    monkeypatch.setattr(session_module, '_leave', lambda why: (_ for _ in ()).throw(LeftError(why)))
    return clock


def seat_of(session, job='j1'):
    return TrialClient(session.path, job)


# --- the main process -----------------------------------------------------------------------------


def test_a_main_process_says_that_it_lives(tmp_path, clock):
    session = RunHeartbeat(tmp_path)
    first = read_record(tmp_path / 'session.json', remedy='')
    session.beat()
    assert read_record(tmp_path / 'session.json', remedy='') == first  # not at every call
    clock.now += 10
    session.beat()
    assert read_record(tmp_path / 'session.json', remedy='') == {**first, 'beat': first['beat'] + 1}
    assert RunHeartbeat(tmp_path).token != session.token


def test_what_a_job_was_told_is_remembered_by_the_next_main_process(tmp_path):
    session = RunHeartbeat(tmp_path)
    assert session.assigned('j1') is None
    session.assign('j1', {'stage': 'search'})
    assert RunHeartbeat(tmp_path).assigned('j1') == {'stage': 'search', 'session': session.token}


# --- waiting for a task ---------------------------------------------------------------------------


def test_a_trial_waits_for_its_task(tmp_path, clock):
    session = RunHeartbeat(tmp_path)
    clock.events += [
        (3, lambda: session.assign('j2', {'stage': 'another'})),
        (5, lambda: session.assign('j1', {'stage': 'search'})),
    ]
    assert seat_of(session).wait_for_task()['stage'] == 'search'
    assert 5 <= clock.now < 6


def test_a_task_of_a_former_main_process_does_not_count(tmp_path, clock):
    RunHeartbeat(tmp_path).assign('j1', {'stage': 'search'})
    session = RunHeartbeat(tmp_path)
    clock.events.append((4, lambda: session.assign('j1', {'stage': 'none'})))
    assert seat_of(session).wait_for_task()['stage'] == 'none'


def test_a_trial_that_nobody_knows_ends(tmp_path, clock):
    session = RunHeartbeat(tmp_path)
    with pytest.raises(TimeoutError, match='Trial j1 received no task within 60 s') as error:
        seat_of(session).wait_for_task(60)
    assert str(tmp_path) in str(error.value)
    assert 'resume the experiment' in str(error.value)
    assert 60 <= clock.now < 61


@pytest.mark.parametrize('half', ['', '{"session": "', '{"stage"', '\0\0\0'])
def test_files_that_are_being_written_are_read_once_more(tmp_path, clock, half):
    session = RunHeartbeat(tmp_path)
    whole = (tmp_path / 'session.json').read_text()
    session.assign('j1', {'stage': 'search'})
    task = (tmp_path / 'jobs' / 'j1.json').read_text()
    (tmp_path / 'session.json').write_text(half)
    (tmp_path / 'jobs' / 'j1.json').write_text(half)
    clock.events += [
        (2, lambda: (tmp_path / 'session.json').write_text(whole)),
        (3, lambda: (tmp_path / 'jobs' / 'j1.json').write_text(task)),
    ]
    assert seat_of(session).wait_for_task()['stage'] == 'search'
    assert clock.now >= 3


# --- being wanted ---------------------------------------------------------------------------------


@pytest.fixture
def seated(tmp_path, clock):
    """A session whose trial j1 works."""
    session = RunHeartbeat(tmp_path)
    session.assign('j1', {'stage': 'search'})
    seat = seat_of(session)
    seat.wait_for_task()
    return session, seat


def watched(clock, seat, until):
    """Why the trial leaves, or None if it still works at some time."""

    class EnoughError(Exception):
        pass

    def enough():
        raise EnoughError

    clock.events.append((until, enough))
    try:
        seat._watch()
    except LeftError as left:
        return str(left)
    except EnoughError:
        return None


def beats(clock, session, until):
    for moment in range(5, until, 10):
        clock.events.append((moment, session.beat))


def test_a_trial_works_as_long_as_its_main_process_lives(seated, clock):
    session, seat = seated
    beats(clock, session, 600)
    assert watched(clock, seat, 600) is None


def test_it_leaves_when_the_main_process_is_gone(seated, clock):
    session, seat = seated
    beats(clock, session, 100)
    assert 'has not responded for 300 s' in watched(clock, seat, 1000)
    assert 390 < clock.now < 410


def test_it_leaves_when_the_experiment_was_resumed_without_it(seated, clock):
    session, seat = seated
    beats(clock, session, 600)

    def resume():
        session.token = RunHeartbeat(session.path).token  # and its beats

    clock.events.append((100, resume))
    assert 'resumed without this trial' in watched(clock, seat, 1000)
    assert 130 <= clock.now < 140


def test_it_goes_on_where_the_resumed_experiment_assigns_it_again(seated, clock):
    session, seat = seated

    def resume():
        session.token = RunHeartbeat(session.path).token

    beats(clock, session, 600)
    clock.events += [(100, resume), (120, lambda: session.assign('j1', {'stage': 'search'}))]
    assert watched(clock, seat, 600) is None


def test_it_leaves_when_it_was_started_again(seated, clock):
    session, seat = seated
    beats(clock, session, 600)
    clock.events.append((50, lambda: seat_of(session).wait_for_task()))
    assert 'restarted this trial' in watched(clock, seat, 1000)
    assert 50 <= clock.now < 60


def test_files_that_cannot_be_read_for_a_moment_do_not_matter(seated, clock):
    session, seat = seated
    beats(clock, session, 600)
    files = [session.path / 'session.json', session.path / 'jobs' / 'j1.json', session.path / 'jobs' / 'j1.claim.json']
    kept = {path: path.read_bytes() for path in files}
    clock.events += [
        (102, lambda: [path.write_text('{"sess') for path in files]),
        (110, lambda: [path.unlink() for path in files]),
        (120, lambda: [path.write_bytes(content) for path, content in kept.items()]),
    ]
    assert watched(clock, seat, 600) is None


def test_leaving_ends_the_process(tmp_path):
    import subprocess
    import sys

    code = 'from nni_cafenet.trials.heartbeat import _leave; _leave("It is over."); print("not here")'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, '', 'It is over.\n')


def test_the_watch_is_a_thread_that_does_not_hold_the_process(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(TrialClient, '_watch', lambda seat: seen.append(threading.current_thread().daemon))
    TrialClient(tmp_path, 'j1').watch()
    end = time.monotonic() + 10
    while not seen and time.monotonic() < end:
        time.sleep(0.01)
    assert seen == [True]
