"""NNI's multi-trial strategies on a width space, through its training service on this machine."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import signal
import socket
import sys
import urllib.request

import nni.experiment.launcher as launcher
import nni.nas.experiment.experiment as nni_experiment
import pytest
from nni.experiment.config.training_services import LocalConfig  # noqa: F401 - registers the platform
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.strategy import TPE, GridSearch, PolicyBasedRL, Random, RegularizedEvolution
from nni.nas.strategy.middleware import Chain
from nni.nas.strategy.rl import has_tianshou

from nni_cafenet import EqualBins, WidthMutator, WithinBudget
from nni_cafenet.space.web_ui_summary import mutation_summary, published_axes
from nni_cafenet.testing import SmallResNet

TRIAL_CODE = '''
import nni
from torch.utils.data import TensorDataset

from nni_cafenet.testing import digits


def count(model):
    """Report the parameters: which network ran can be told from the metric."""
    nni.report_intermediate_result(0.0)
    nni.report_final_result(float(sum(parameter.numel() for parameter in model.parameters())))


@nni.trace
class Digits(TensorDataset):
    def __init__(self, split):
        super().__init__(*digits(split).tensors)
'''


@pytest.fixture(scope='module')
def space():
    return WidthMutator(bins=EqualBins(2)).mutate(SmallResNet, width=4, example_input=(1, 1, 8, 8))


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The module that trials import."""
    (tmp_path / 'code_of_trials.py').write_text(TRIAL_CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    repository = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [str(tmp_path), repository, os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
    import code_of_trials

    yield code_of_trials
    del sys.modules['code_of_trials']


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run(space, evaluator, strategy, trials)``: a finished experiment and what its server tells of its trials."""
    home = tmp_path / 'home'
    (home / 'nni-experiments').mkdir(parents=True)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    experiments = functools.partial(launcher.Experiments, home_dir=str(home / 'nni-experiments'))
    monkeypatch.setattr(nni_experiment, 'Experiments', experiments)
    monkeypatch.setattr(launcher, 'Experiments', experiments)
    logging.getLogger('nni').setLevel(logging.ERROR)
    started = []

    def run(space, evaluator, strategy, trials):
        config = NasExperimentConfig('ts', 'simplified', 'local')
        config.max_trial_number = trials
        config.trial_concurrency = 2
        config.experiment_working_directory = str(tmp_path / 'nni')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        experiment = NasExperiment(space, evaluator, strategy, config)
        started.append(experiment)
        experiment.run(port=port)
        jobs, profile = (ask(port, what) for what in ('trial-jobs', 'experiment'))
        trials_of_server = []
        for job in sorted(jobs, key=lambda job: job['sequenceId']):
            metrics = [json.loads(json.loads(metric['data'])) for metric in job.get('finalMetricData', [])]
            parameters = json.loads(job['hyperParameters'][0])['parameters']
            trials_of_server.append((job['status'], parameters, metrics))
        assert profile['params']['searchSpace'] == published_axes(space)
        return experiment, trials_of_server

    yield run
    for experiment in started:
        manager = experiment._proc
        experiment.stop()
        if manager is not None and manager.poll() is None:  # its trials are in its process group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(manager.pid, signal.SIGKILL)


def ask(port, what):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/api/v1/nni/{what}') as answer:
        return json.load(answer)


def check(space, experiment, trials, count):
    """Every trial ran the network that it shows."""
    assert len(trials) == count
    for status, parameters, metrics in trials:
        assert status == 'SUCCEEDED'
        assert parameters['mutation_summary'] == mutation_summary(space, parameters['sample'])
        assert metrics == [parameters['mutation_summary']['params']]
    best = experiment.export_top_models(count)
    assert [model.metric for model in best] == sorted((metrics[0] for _, _, metrics in trials), reverse=True)
    for model in best:
        assert model.metric == space.params(model.sample)
        assert model.mutation_summary == mutation_summary(space, model.sample)
    (slim,) = experiment.export_top_models(1, formatter='instance')
    assert type(slim) is SmallResNet
    assert sum(parameter.numel() for parameter in slim.parameters()) == best[0].metric


def test_trials_run_and_show_the_networks_that_a_strategy_proposed_within_a_budget(space, code, run):
    strategy = Chain(Random(seed=0), WithinBudget('30%'))
    experiment, trials = run(space, FunctionalEvaluator(code.count), strategy, trials=2)
    check(space, experiment, trials, count=2)
    assert all(parameters['mutation_summary']['MACs %'] <= 30 for _, parameters, _ in trials)


STRATEGIES = {
    'Random': lambda: Random(seed=0),
    'GridSearch': lambda: GridSearch(seed=0),
    'RegularizedEvolution': lambda: RegularizedEvolution(population_size=2, sample_size=2, seed=0),
    'TPE': TPE,
    'PolicyBasedRL': lambda: PolicyBasedRL(samples_per_update=2),
}


@pytest.mark.sweep
@pytest.mark.parametrize('name', STRATEGIES)
def test_every_strategy(space, code, run, name):
    if name == 'PolicyBasedRL' and not has_tianshou:
        pytest.skip('tianshou is not installed')
    experiment, trials = run(space, FunctionalEvaluator(code.count), STRATEGIES[name](), trials=4)
    check(space, experiment, trials, count=4)


@pytest.mark.sweep
def test_lightning_evaluators_train_the_slim_models(space, code, run):
    evaluator = Classification(
        num_classes=10,
        train_dataloaders=DataLoader(code.Digits('train'), batch_size=64, shuffle=True),
        val_dataloaders=DataLoader(code.Digits('test'), batch_size=200),
        max_epochs=2,
        learning_rate=0.05,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    experiment, trials = run(space, evaluator, Random(seed=0), trials=2)
    assert [status for status, _, _ in trials] == ['SUCCEEDED'] * 2
    assert all(0.1 < metrics[0] <= 1 for _, _, metrics in trials)
    best = experiment.export_top_models(2)
    assert len(best[0].metrics.intermediates) == 2
    assert best[0].metric >= best[1].metric
