"""Runs whose processes are killed and that are resumed end as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time

import pytest


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.mark.timeout(1500)
def test_killed_in_every_stage(new_run):
    sequential, run = new_run('sequential'), new_run()
    sequential.start(engine='sequential')
    run.close('supernet-epoch-1')
    run.start()

    # A trial is killed: it is tried once more, from its checkpoint.
    (trial,) = run.reached('supernet-epoch-1')
    os.kill(trial, signal.SIGKILL)
    run.open('supernet-epoch-1')

    # The main process is killed: its manager and its trials end too, and the port is free.
    run.close('search-step-22')
    assert sequential.wait() == 0
    assert trial not in run.reached('search-step-22', 2)
    os.kill(run.main.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    run.all_gone()
    scored = [path.read_bytes() for path in sorted(run.folder.glob('search/*/scores.jsonl'))]
    assert sum(map(len, scored)) > 0
    run.open('search-step-22')

    # Ctrl-C.
    run.close('search-step-5')
    run.resume()
    run.reached('search-step-5', 2)
    run.interrupt()
    assert run.wait(60) != 0
    assert_quiet(run)
    run.all_gone()
    run.open('search-step-5')

    # The manager is killed.
    run.close('finalist-epoch-1')
    run.resume()
    run.reached('finalist-epoch-1', 2)
    run.manager().kill()
    assert run.wait(60) == 1
    assert 'ExperimentEndedError' in run.output()
    run.all_gone()
    run.open('finalist-epoch-1')

    # nnictl.
    run.close('finalist-epoch-2')
    run.resume()
    run.reached('finalist-epoch-2', 2)
    assert 'Stop experiment success' in run.nnictl('stop', 'digits')
    assert run.wait(60) != 0
    assert_quiet(run)
    run.all_gone()
    run.open('finalist-epoch-2')

    run.resume()
    assert run.wait() == 0
    assert_same(run.outcome(), sequential.outcome())
    written = [path.read_bytes() for path in sorted(run.folder.glob('search/*/scores.jsonl'))]
    assert written[: len(scored)] == scored


def assert_quiet(run):
    assert run.output().count('All finished trainings and scores are kept. To continue: ') == 1


# --- every stage, every way -----------------------------------------------------------------------

GATES = {
    'supernet': 'supernet-epoch-1',
    'search': 'search-step-22',
    'finalists': 'finalist-epoch-1',
}  # step 22: a trial's second width


@pytest.fixture(scope='module')
def expected(tmp_path_factory, runs):
    """What one process finds."""
    with runs(tmp_path_factory.mktemp('expected') / 'sequential') as run:
        run.start(engine='sequential')
        assert run.wait() == 0
        return run.outcome()


@pytest.mark.sweep
@pytest.mark.timeout(1500)
@pytest.mark.parametrize('stage', GATES)
@pytest.mark.parametrize('how', ['main', 'terminated', 'manager', 'trial', 'interrupted', 'twice', 'nnictl'])
def test_killed(new_run, expected, stage, how):
    run, gate = new_run(), GATES[stage]
    run.close(gate)
    run.start()
    processes = 1 if stage == 'supernet' else 2
    trials = run.reached(gate, processes)
    if how == 'trial':
        os.kill(trials[0], signal.SIGKILL)
        run.open(gate)
        assert run.wait() == 0
        assert 'was killed or canceled' in run.output()
        assert_same(run.outcome(), expected)
        return
    end(run, how)
    run.all_gone()
    run.open(gate)
    run.resume()
    assert run.wait() == 0
    assert_same(run.outcome(), expected)


def end(run, how):
    if how in ('main', 'terminated'):
        run.main.send_signal(signal.SIGKILL if how == 'main' else signal.SIGTERM)
        assert run.wait(60) < 0
    elif how == 'manager':
        run.manager().kill()
        assert run.wait(60) == 1
        assert 'nni_cafenet.errors.ExperimentEndedError: The experiment ended before its run' in run.output()
    elif how == 'nnictl':
        assert 'Stop experiment success' in run.nnictl('stop', 'digits')
        assert run.wait(60) != 0
        assert_quiet(run)
    elif how == 'interrupted':
        run.interrupt()
        assert run.wait(60) != 0
        assert_quiet(run)
    else:
        run.interrupt()
        wait_for(run, 'Stopping experiment')
        run.interrupt()
        assert run.wait(60) != 0


def wait_for(run, words):
    while words not in run.output():
        assert run.main.poll() is None
        time.sleep(0.02)
