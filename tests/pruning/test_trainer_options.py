from __future__ import annotations

import pytest
import torch

from nni_cafenet.pruning import TrainerOptions

TORCHRUN = {'TORCHELASTIC_RUN_ID': 'none', 'RANK': '0', 'LOCAL_RANK': '0', 'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ('TORCHELASTIC_RUN_ID', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'SLURM_NTASKS'):
        monkeypatch.delenv(name, raising=False)


def launched(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_one_device_trains_without_ddp():
    assert TrainerOptions('cpu').as_arguments() == {'accelerator': 'cpu', 'devices': 1, 'precision': '32-true'}


def test_several_processes_on_a_cpu_divide_batches():
    arguments = TrainerOptions('cpu', devices=64).as_arguments()
    assert (arguments['devices'], arguments['num_nodes'], arguments['strategy']) == (64, 1, 'split_ddp')
    assert arguments['use_distributed_sampler'] is False


def test_one_device_trains_by_ddp_if_asked():
    assert TrainerOptions('cpu', strategy='ddp').as_arguments()['strategy'] == 'split_ddp'


def test_what_torchrun_has_started_is_the_default(monkeypatch):
    launched(monkeypatch, TORCHRUN)
    options = TrainerOptions('cpu')
    assert (options.on_this_node, options.number_of_nodes, options.ranks) == (2, 2, 4)
    with pytest.raises(ValueError, match=r'devices=1, nodes=2: torchrun has started 4 processes, not 2'):
        TrainerOptions('cpu', devices=1)


def test_a_job_of_slurm_is_not_put_into_the_queue_by_lightning(monkeypatch):
    ranks = {'SLURM_NTASKS': '2', 'SLURM_NTASKS_PER_NODE': '2', 'SLURM_PROCID': '0', 'SLURM_JOB_NAME': 'search'}
    launched(monkeypatch, {**ranks, 'SLURM_LOCALID': '0', 'SLURM_NODEID': '0'})
    (plugin,) = TrainerOptions('cpu').as_arguments()['plugins']
    assert not plugin.auto_requeue


@pytest.mark.parametrize('device', ['cuda', 'auto'])
def test_more_devices_than_there_are_is_an_error(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(ValueError, match='devices=8: there are only 2 CUDA devices on this machine'):
        TrainerOptions(device, devices=8)
    with pytest.raises(ValueError, match="devices=2: device='cuda:1' is a single one"):
        TrainerOptions('cuda:1', devices=2)


def test_machines_need_a_launcher_or_addresses():
    with pytest.raises(ValueError, match='nodes=2: start the command on every node by torchrun or srun'):
        TrainerOptions('cpu', nodes=2)


@pytest.mark.parametrize(
    ('strategy', 'why'),
    [
        ('fsdp', 'divides parameters among devices'),
        ('deepspeed_stage_2', 'divides parameters among devices'),
        ('ddp_spawn', 'cannot meet before the training'),
        ('dp', 'must be one of'),
    ],
)
def test_other_strategies_are_refused_with_the_reason(strategy, why):
    with pytest.raises(ValueError, match=f'strategy={strategy!r}.*{why}'):
        TrainerOptions('cpu', devices=2, strategy=strategy)


@pytest.mark.parametrize('devices', [0, 1.5, True, '2'])
def test_numbers_of_devices_are_whole(devices):
    with pytest.raises((ValueError, TypeError), match='devices'):
        TrainerOptions('cpu', devices=devices)
