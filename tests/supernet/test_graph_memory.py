from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch

from nni_cafenet.supernet.graph_memory import GraphMemory

CPU = torch.device('cpu')


@pytest.fixture
def machine(monkeypatch):
    """A machine whose memory in use and available memory are set by the test."""
    machine = SimpleNamespace(used=0, free=0)
    monkeypatch.setattr(
        psutil, 'Process', lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=machine.used))
    )
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=machine.free))
    return machine


@pytest.mark.parametrize('memory', ['', 'slow', None, 1])
def test_anything_else_is_refused(memory):
    with pytest.raises(ValueError, match='memory=.* auto, fast, lean'):
        GraphMemory(memory)


def test_what_the_user_says_stands(machine):
    machine.used = 100
    for memory, keeps_two in (('fast', True), ('lean', False)):
        memory = GraphMemory(memory)
        assert (memory.keeps_two, memory.may_change) == (keeps_two, False)


def test_a_second_graph_must_fit_into_what_is_free(machine):
    memory = GraphMemory('auto')
    machine.used, machine.free = 1000, 50
    memory.before_graph(CPU)
    machine.used = 1050
    assert not memory.is_short(CPU)  # 50 more are free
    machine.used = 1051
    assert memory.is_short(CPU)


def test_growth_counts_from_before_the_first_step_and_only_new_sizes_are_looked_at(machine):
    memory = GraphMemory('auto')
    machine.used, machine.free = 1000, 500
    memory.before_graph(CPU)
    machine.used = 1400
    assert not memory.is_short(CPU)
    memory.before_graph(CPU)  # memory of the last step that was not given back
    machine.free = 100
    assert not memory.is_short(CPU)  # as large as one beside which there was room
    machine.used = 1401
    assert memory.is_short(CPU)


def test_closed_for_good(caplog):
    memory = GraphMemory('auto')
    with caplog.at_level('INFO', 'nni_cafenet'):
        memory.fall_back('No memory left')
        memory.fall_back('Again')
    assert (memory.keeps_two, memory.may_change) == (False, False)
    assert [record.getMessage() for record in caplog.records] == [
        "No memory left: from now on a training step keeps one graph (memory='lean'; same results)."
    ]
