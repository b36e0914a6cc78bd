"""Names of trials, and trials that have ended before they were announced, in NNI's own manager."""

from __future__ import annotations

import json

import pytest

ENDED = {'start': 1000, 'end': 3500, 'final': {'default': 0.75, 'score': 1.5}}


def parameter(number, **parameters):
    return {
        'parameter_id': number,
        'parameter_source': 'algorithm',
        'parameters': parameters,
        'parameter_index': 0,
    }


@pytest.fixture(scope='module')
def shown(start_manager, until):
    """``(manager, trials by the number of their parameters)`` of an experiment with records beside real trials."""
    manager = start_manager().wait()
    with manager.experiment() as tell:
        tell('TR', parameter(0, name='supernet'))
        tell('TR', parameter(1, name='widths', ended=ENDED, mutation_summary={'conv1': 8}))
        tell('TR', parameter(2, ended=ENDED))
        tell('TR', parameter(3, name='no/name of a folder'))  # waits: one trial at a time
        tell('TR', parameter(4, ended='nonsense'))
        tell('TR', parameter(5, name='widths', ended=ENDED))
        until(lambda: sorted(each['status'] for each in manager.trials()) == ['RUNNING', *['SUCCEEDED'] * 3])
        yield (
            manager,
            {json.loads(each['hyperParameters'][0])['parameter_id']: each for each in manager.trials()},
        )


def test_a_record_is_a_trial_that_has_succeeded(shown):
    manager, trials = shown
    assert trials.keys() == {0, 1, 2, 5}
    record = trials[1]
    assert record['status'] == 'SUCCEEDED'
    assert (record['startTime'], record['endTime']) == (1000, 3500)
    assert json.loads(record['hyperParameters'][0])['parameters']['mutation_summary'] == {'conv1': 8}
    (metric,) = record['finalMetricData']
    assert json.loads(json.loads(metric['data'])) == ENDED['final']
    assert json.loads(manager.api('GET', 'check-status')[1]) == {'status': 'RUNNING', 'errors': []}


def test_names_are_in_the_ids(shown):
    _, trials = shown
    assert [trials[number]['trialJobId'].rpartition('-')[0] for number in (0, 1, 2, 5)] == [
        'supernet',
        'widths',
        '',
        'widths',
    ]
    assert len({each['trialJobId'] for each in trials.values()}) == 4
    assert [trials[number]['sequenceId'] for number in (0, 1, 2)] == [0, 1, 2]


def test_the_folder_of_a_named_trial(shown):
    manager, trials = shown
    assert trials[0]['logPath'].endswith(f'/trials/{trials[0]["trialJobId"]}')
    status, text, _ = manager.api('GET', f'trial-file/{trials[0]["trialJobId"]}/stdout')
    assert (status, 'empty' in text) == (200, True)
    assert manager.api('GET', f'trial-file/{trials[1]["trialJobId"]}/stdout')[0] == 500  # no process, no output
