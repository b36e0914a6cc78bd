from __future__ import annotations

import nni
import nni.trial
import pytest
import requests
from nni.runtime import trial_command_channel
from nni.runtime.trial_command_channel import TrialCommandChannel, set_default_trial_command_channel

from nni_cafenet.stages.captured_results import reports_may_fail, taken_reports


class Channel(TrialCommandChannel):
    """The way to the NNI manager, if it is there."""

    def __init__(self):
        self.sent, self.gone = [], False

    def receive_parameter(self):
        return {'parameter_id': 4, 'parameters': {'a': 1}}

    def send_metric(self, type, parameter_id, trial_job_id, sequence, value):
        if self.gone:
            raise requests.exceptions.ConnectionError('Connection refused')
        self.sent.append((type, parameter_id, sequence, value))


@pytest.fixture
def channel(monkeypatch):
    before = trial_command_channel.get_default_trial_command_channel()
    channel = Channel()
    set_default_trial_command_channel(channel)
    monkeypatch.setattr(nni.trial, '_params', {'parameter_id': 4, 'parameters': {}})
    yield channel
    set_default_trial_command_channel(before)


def test_what_is_reported_in_a_block_is_taken(channel):
    with taken_reports() as reports:
        nni.report_intermediate_result(0.1)
        nni.report_intermediate_result({'default': 0.2})
        nni.report_final_result(0.3)
        assert nni.get_next_parameter() == {'a': 1}
    assert channel.sent == []
    assert (reports.intermediate, reports.final) == (2, 0.3)
    nni.report_final_result(0.4)
    assert channel.sent == [('FINAL', 4, 0, 0.4)]


def test_something_else_is_sent_in_its_place(channel):
    with taken_reports(lambda value: {'default': value, 'twice': 2 * value}) as reports:
        nni.report_intermediate_result(0.5)
        reports.send(0.7)
        nni.report_intermediate_result(0.25)
    assert channel.sent == [
        ('PERIODICAL', 4, 0, {'default': 0.5, 'twice': 1.0}),
        ('PERIODICAL', 4, 1, 0.7),
        ('PERIODICAL', 4, 2, {'default': 0.25, 'twice': 0.5}),
    ]


def test_without_a_trial_there_is_no_parameter(channel, monkeypatch):
    monkeypatch.setattr(nni.trial, '_params', None)
    with taken_reports() as reports:
        reports.send(1.0)
    assert channel.sent == [('PERIODICAL', None, 0, 1.0)]


def test_an_error_gives_the_channel_back(channel):
    with pytest.raises(ZeroDivisionError), taken_reports():
        raise ZeroDivisionError
    assert trial_command_channel.get_default_trial_command_channel() is channel


def test_nothing_is_lost_where_nobody_takes_results(channel, caplog):
    channel.gone = True
    with reports_may_fail(), taken_reports(lambda value: value) as reports:
        assert nni.get_next_parameter() == {'a': 1}
        nni.report_intermediate_result(0.1)
        reports.send(0.2)
        channel.gone = False
        nni.report_intermediate_result(0.3)
    assert channel.sent == [('PERIODICAL', 4, 2, 0.3)]
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ['A result could not be reported to NNI (Connection refused).'] * 2


def test_faults_of_the_value_are_raised(channel, monkeypatch):
    monkeypatch.setattr(channel, 'send_metric', lambda *_, **__: (_ for _ in ()).throw(TypeError('no JSON')))
    with pytest.raises(TypeError, match='no JSON'), reports_may_fail():
        nni.report_final_result(object())
