"""Fixtures of all tests; what they give is in `helpers`, which test files may import too."""

from __future__ import annotations

import copy
import functools
import logging
import os
import tempfile

os.environ.setdefault('NNI_CAFENET_KEY', os.path.join(tempfile.mkdtemp(), 'key'))  # not the user's own
os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: the networks are too small for threads to pay

import pytest
import torch

pytest.register_assert_rewrite('helpers')

from helpers import contracts, models
from hypothesis import HealthCheck, settings

# The same examples at every run: a failure is one of this code, not of the day's draw. Others: --hypothesis-profile=explore
# How long they take says how busy the machine is.
UNTIMED = {'deadline': None, 'suppress_health_check': [HealthCheck.too_slow]}
settings.register_profile('repeated', derandomize=True, **UNTIMED)
settings.register_profile('explore', max_examples=1000, print_blob=True, **UNTIMED)
settings.load_profile('repeated')

logging.getLogger('nni').setLevel(logging.ERROR)
torch.backends.cuda.enable_flash_sdp(False)  # on the CPU too: older releases do not count what it computes


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


@pytest.fixture
def nni_home(tmp_path, monkeypatch):
    """The folder in which NNI lists its experiments, in place of the user's."""
    import nni.nas.experiment.experiment as nni_experiment

    home = tmp_path / 'home'
    home.mkdir()
    listed = functools.partial(nni_experiment.Experiments, home_dir=str(home))
    monkeypatch.setattr(nni_experiment, 'Experiments', listed)
    logging.getLogger('nni').setLevel(logging.ERROR)
    return home


@pytest.fixture
def run_experiment(nni_home, tmp_path):
    """``run_experiment(space, evaluator, strategy, config=None)``: an experiment in this process that has ended."""
    from nni.nas.experiment import NasExperiment

    def run(space, evaluator, strategy, config=None):
        experiment = NasExperiment(space, evaluator, strategy, config)
        experiment.config.experiment_working_directory = str(tmp_path / 'nni')
        try:
            experiment.run()
        finally:
            experiment.stop()
        return experiment

    return run


@pytest.fixture(scope='session')
def full_size():
    """``full_size(name, resolution=224, **options)``: the channel graph of a torchvision model, made once."""
    return lambda name, resolution=224, **options: models.graph_of(name, resolution, **options)


@pytest.fixture
def family_factory():
    """``family_factory(name)()`` makes the model of the space that `family` gives."""
    return lambda name: functools.partial(models.make_family, name)


@pytest.fixture
def family():
    """``family(name)``: the width space of a torchvision model with 10 classes, made once, put back afterwards."""
    used = []

    def get(name: str):
        space = models.space_of_family(name)
        if all(space is not other for other, *_ in used):
            used.append((space, copy.deepcopy(dict(space.named_buffers()))))
        return space.eval()

    yield get
    for space, buffers in used:
        space.float().eval().zero_grad(set_to_none=True)
        space.activate(space.full_widths)
        with torch.no_grad():
            for name, buffer in space.named_buffers():
                buffer.copy_(buffers[name])


@pytest.fixture
def draw():
    """``draw(space, seed, 'random')``: widths and random channel sets of a space (torch tensors)."""
    return contracts.draw


@pytest.fixture(scope='session')
def same_in_any_order():
    """``same_in_any_order(space, *inputs)``: see `helpers.contracts.same_order`."""
    return contracts.same_order


@pytest.fixture(scope='session')
def wired():
    """``wired(wiring, a=..., b=...)``: a module whose weights are all its own values."""
    return models.wired


@pytest.fixture(scope='session')
def detector():
    """``detector()``: a small Faster R-CNN for pictures of 64 x 64 that finds something with fresh weights."""
    return models.detector


@pytest.fixture(scope='session')
def analyzed():
    """``analyzed(model, shape)``: the channel graph before the forwards that verify it."""
    from nni_cafenet.analysis.propagate import trace
    from nni_cafenet.graph.example_input import ExampleInput

    return lambda model, example: trace(model, ExampleInput.of(example, model))


@pytest.fixture(scope='session')
def verified():
    """``verified(model, shape)``: the channel graph after them."""
    from nni_cafenet.analysis.propagate import trace
    from nni_cafenet.analysis.verification import verify_groups
    from nni_cafenet.graph.example_input import ExampleInput

    def run(model, example):
        example = ExampleInput.of(example, model)
        return verify_groups(model, trace(model, example), example)

    return run


@pytest.fixture(scope='session', autouse=True)
def _no_run_in_the_checkout():
    """Runs without a directory land in the working directory: every test gives its own."""
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'cafenet')
    was_there = os.path.exists(folder)
    yield
    assert was_there or not os.path.exists(folder), 'a test wrote a run into the checkout'
