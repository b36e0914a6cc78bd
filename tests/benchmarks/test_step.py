"""The benchmark of a step on the smallest of cases: what its rows hold, and that peers run at their own slim widths."""

from __future__ import annotations

import argparse
import itertools

import pytest
import torch

import step
from zoo import step_peers
from zoo.measures import run_counted

OPTIONS = argparse.Namespace(seed=0, size=32, device='cpu', rounds=1, cpu_time=False)


@pytest.fixture
def no_peers(monkeypatch):
    absent = {peer: ('no_such_package', module) for peer, (_, module) in step_peers.PEERS.items()}
    monkeypatch.setattr(step_peers, 'PEERS', absent)


@pytest.mark.usefixtures('no_peers')
def test_the_row_and_the_page_of_a_model():
    row = step.measure('squeezenet1_1', 2, 'quarter', OPTIONS)
    assert (row['model'], row['images'], row['widths']) == ('squeezenet1_1', 2, 'quarter')
    for what in ('step', 'forward'):
        assert set(row[what]) == {'slim', *step.SIDES}
        assert set(row[f'{what} ratio']) == set(step.SIDES)
        assert all(number > 0 for number in [*row[what].values(), *row[f'{what} ratio'].values()])
    assert row['peers'] == {'ModelOpt': {'why': 'not installed'}, 'NNI': {'why': 'not installed'}}
    header, _, line, *rest = step.page([row, row]).splitlines()
    assert header.count('|') == line.count('|')
    assert header.endswith('| step, ModelOpt | step, NNI |')
    assert [cell.strip() for cell in line.split('|')[-3:-1]] == ['-', '-']
    assert [text for text in rest if text.endswith('installed.')] == [
        'ModelOpt on squeezenet1_1: not installed.',
        'NNI on squeezenet1_1: not installed.',
    ]


IMAGES = torch.zeros(2, 3, 32, 32).add(torch.arange(32.0))


def row_of(peer, name='resnet18', share=0.25):
    return step_peers.peer_row(peer, name, share, IMAGES, seed=0, rounds=1, cpu_time=False)


def test_a_tool_that_fails_is_a_reason():
    pytest.importorskip('nni')
    assert 'only resnet18' in row_of('NNI', 'resnet50')['why']


@pytest.mark.parametrize('peer', ['ModelOpt', 'NNI'])
def test_a_peer_that_is_installed(peer):
    pytest.importorskip(step_peers.PEERS[peer][0], exc_type=ImportError)
    row = row_of(peer)
    assert set(row) == {'step', 'step ratio'}, row.get('why')
    assert set(row['step']) == {'supernet', 'slim'}
    assert row['step ratio'] > 0


@pytest.mark.parametrize('peer', ['ModelOpt', 'NNI'])
@pytest.mark.parametrize('share', [0.25, None])
def test_both_steps_of_a_peer_cost_the_same_macs(peer, share):
    package, module = step_peers.PEERS[peer]
    pytest.importorskip(package, exc_type=ImportError)
    pairs = pytest.importorskip(module).pairs('resnet18', share, IMAGES, 0)
    macs = [tuple(_macs(call) for call in pair) for pair in itertools.islice(pairs, 2)]
    assert all(supernet == slim > 0 for supernet, slim in macs)
    assert (macs[0] != macs[1]) == (share is None)


def _macs(call):
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def test_nni_s_supernet_computes_what_its_slim_network_does():
    peer = pytest.importorskip('zoo.step_nni', exc_type=ImportError)
    network, choose = peer.supernet()
    widths = {label: full // 4 for label, full in peer.full_widths().items()}
    choose(widths)
    slim = peer.resnet18(widths)
    weights = network.network.state_dict()
    slim.load_state_dict(
        {name: weights[name][tuple(slice(size) for size in tensor.shape)] for name, tensor in slim.state_dict().items()}
    )
    (ours, macs), (theirs, slim_macs) = (run_counted(model, (IMAGES,)) for model in (network, slim))
    assert macs == slim_macs
    assert torch.allclose(ours[0], theirs[0], atol=1e-5)
