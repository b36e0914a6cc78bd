"""An experiment of three stages that train nothing."""

from __future__ import annotations

import time

import nni
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.nas.strategy import Strategy

SUMMARIES = [
    {'stage': 'supernet'},
    {'stage': 'search'},
    {'stage': 'search'},
    {'stage': 'finalist', 'conv1': 8, 'fc': 30, 'macs': 4000},
    {'stage': 'finalist', 'conv1': 4, 'fc': 50, 'macs': 5000},
]


class Stage(ExecutableModelSpace):
    """The trial of one summary."""

    evaluator = sample = None

    def __init__(self, number: int) -> None:
        super().__init__(ModelStatus.Frozen)
        self.number = number

    def _dump(self):
        return {'mutation_summary': SUMMARIES[self.number], 'number': self.number}

    @classmethod
    def _load(cls, number, mutation_summary):
        return cls(number)

    def extra_repr(self):
        return str(self.number)

    def execute(self):
        number = nni.get_sequence_id()  # not self.number: NNI gives trials that start together each other's parameters
        for report in range(1, 5):
            time.sleep(0.4)
            nni.report_intermediate_result({'default': number + report / 10, 'epoch': report})
        if SUMMARIES[number]['stage'] == 'finalist':
            nni.report_final_result({'default': number / 10, 'macs': SUMMARIES[number]['macs']})


class Stages(Strategy):
    """Stage after stage, the trials of a stage together."""

    def _run(self):
        self.engine.nodejs_binding.update_search_space({})
        for numbers in ([0], [1, 2], [3, 4]):
            stages = [Stage(number) for number in numbers]
            self.engine.submit_models(*stages)
            self.engine.wait_models(*stages)

    def state_dict(self):
        return {}


class Nothing(ModelSpace):
    """NNI wants a space."""


def run(port, folder):
    config = NasExperimentConfig('ts', 'simplified', 'local', trial_concurrency=2, max_trial_number=len(SUMMARIES))
    config.experiment_working_directory = folder
    NasExperiment(Nothing(), None, Stages(), config).run(port=port)
