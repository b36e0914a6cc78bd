from __future__ import annotations

import nni
import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from torch.utils.data import TensorDataset

from nni_cafenet import EqualBins, WidthMutator, traced
from nni_cafenet.options import FinalistOptions
from nni_cafenet.search.history import Scored
from nni_cafenet.stages.context import StageContext
from nni_cafenet.stages.finalists import Finalist, TrainedFinalist
from nni_cafenet.stages.folder import RunFolder
from nni_cafenet.stages.options import RunOptions
from nni_cafenet.testing import SmallResNet


@traced
def images(number):
    return TensorDataset(torch.randn(number, 1, 8, 8), torch.arange(number) % 3)


def evaluator(**options):
    loader = DataLoader(images(24), batch_size=8)
    quiet = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)
    return Classification(
        num_classes=3,
        train_dataloaders=loader,
        val_dataloaders=loader,
        max_epochs=1,
        accelerator='cpu',
        **quiet,
        **options,
    )


def setup(number=0, weights='fresh', finalist_evaluator=None, **options):
    torch.manual_seed(0)
    space = WidthMutator(bins=EqualBins(4), verify=False).mutate(
        SmallResNet, num_classes=3, width=4, example_input=(1, 1, 8, 8)
    )
    checked = RunOptions.checked(
        **{
            'sharing': None,
            'channel_sets_per_step': 2,
            'score': 'loss',
            'higher_is_better': None,
            'channel_sets_per_score': None,
            'holdout': 0.25,
            'score_data': None,
            'statistics_batches': 1,
            'seed': 3,
            **options,
        }
    )
    finalists = FinalistOptions(number=number, weights=weights, metric=None, higher_is_better=None)
    return StageContext(space, evaluator(), checked, finalists, finalist_evaluator)


def smallest(made, name='1'):
    widths = made.space.smallest_widths
    return Finalist(name, Scored(widths, made.space.macs(widths), made.space.params(widths), 0.5, {}, ()))


def test_another_process_makes_the_same_of_it():
    made = setup(number=2, channel_sets_per_step=3)
    again = StageContext.load(made.dump())
    assert again.options == made.options
    assert again.finalists == made.finalists
    assert again.finalist_evaluator is None
    assert again.space.choices == made.space.choices
    assert again.space.macs(again.space.full_widths) == made.space.macs(made.space.full_widths)
    assert again.evaluator.trainer.max_epochs == 1
    theirs, mine = (each.evaluator.train_dataloaders.dataset.tensors[0] for each in (again, made))
    assert torch.equal(theirs, mine)
    assert again.space.state_dict().keys() == made.space.state_dict().keys()


def test_what_is_too_large_does_not_travel(monkeypatch):
    monkeypatch.setenv('PICKLE_SIZE_LIMIT', '500')
    made = setup()
    made.evaluator.trace_kwargs['train_dataloaders'] = torch.nn.Linear(20, 20)
    with pytest.raises(Exception, match='(?i)too large|larger|limit'):
        made.dump()


def test_what_finalists_are_ranked_by_is_what_their_evaluator_reports():
    assert setup(number=1).metric.name == 'val_acc'
    assert setup(number=1).metric.higher_is_better


def test_evaluators_that_cannot_train_are_refused_by_name():
    with pytest.raises(TypeError, match='finalist_evaluator'):
        setup(number=1, finalist_evaluator='mine')
    with pytest.raises(TypeError):
        StageContext(setup().space, None, setup().options, setup().finalists)


def test_a_finalist_is_trained_from_the_start_that_was_asked_for(tmp_path):
    made = setup(number=1)
    trained = made.train_finalist(smallest(made), RunFolder(tmp_path))
    assert isinstance(trained, TrainedFinalist)
    assert 0 <= trained.metric <= 1
    weights = torch.load(tmp_path / 'finalists' / '1' / 'slim.pt', weights_only=True)
    other = setup(number=1).train_finalist(smallest(made), RunFolder(tmp_path / 'again'))
    assert other == trained
    again = torch.load(tmp_path / 'again' / 'finalists' / '1' / 'slim.pt', weights_only=True)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_inherited_weights_are_those_of_the_supernet():
    made = setup(number=1, weights='inherited')
    start = made._start_of(Finalist('1', made.scorer.score(made.space.smallest_widths)))
    full = made.space.fc.weight
    chosen = made.scorer.score(made.space.smallest_widths).channel_sets
    label = next(label for label, channels in chosen.items() if len(channels) == start.fc.weight.shape[1])
    assert torch.equal(start.fc.bias, made.space.fc.bias)
    assert any(torch.equal(start.fc.weight, full[:, torch.tensor(channels)]) for channels in chosen.values()), label
    fresh = setup(number=1)
    assert not torch.equal(fresh._start_of(smallest(fresh)).fc.bias, fresh.space.fc.bias)


def test_a_run_without_finalists_trains_none(tmp_path):
    made = setup()
    with pytest.raises(RuntimeError, match='no finalists'):
        made.train_finalist(smallest(made), RunFolder(tmp_path))


def test_the_text_is_one_that_nni_reads():
    parts = nni.load(setup().dump())
    assert parts.keys() == {'space', 'evaluator', 'options', 'finalists', 'finalist_evaluator'}
