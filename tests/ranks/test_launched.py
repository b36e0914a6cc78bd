from __future__ import annotations

import pytest

from nni_cafenet.ranks import Launched

SLURM = {'SLURM_NTASKS': '8', 'SLURM_NTASKS_PER_NODE': '4', 'SLURM_PROCID': '5', 'SLURM_LOCALID': '1'}


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({}, Launched()),
        (
            {'TORCHELASTIC_RUN_ID': 'none', 'RANK': '3', 'LOCAL_RANK': '1', 'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'},
            Launched('torchrun', 3, 1, 4, 2),
        ),
        (SLURM, Launched('srun', 5, 1, 8, 4)),
        ({**SLURM, 'TORCHELASTIC_RUN_ID': 'none', 'WORLD_SIZE': '1'}, Launched('torchrun', 0, 0, 1, None)),
        ({**SLURM, 'SLURM_JOB_NAME': 'interactive'}, Launched()),
        ({**SLURM, 'SLURM_NTASKS': '1'}, Launched()),
        ({'LOCAL_RANK': '0', 'NODE_RANK': '0', 'WORLD_SIZE': '2'}, Launched('Lightning', 0, 0, 2, None)),
        ({'LOCAL_RANK': '0', 'NODE_RANK': '1', 'WORLD_SIZE': '2'}, Launched('Lightning', 1, 0, 2, None)),
    ],
)
def test_the_environment_says_who_started_a_process(environment, expected):
    assert Launched.here(environment) == expected


def test_the_first_process_and_the_nodes():
    assert Launched.here({}).is_first
    assert not Launched.here(SLURM).is_first
    assert Launched.here(SLURM).nodes == 2
    assert Launched.here({}).nodes == 1
