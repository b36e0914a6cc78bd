"""Scores of detectors, which return their losses in training mode only."""

from __future__ import annotations

import contextlib
import functools

import pytest
import torch
from helpers import detectors

from nni_cafenet import EqualBins, Fixed, WidthMutator
from nni_cafenet.pruning.objective import Task
from nni_cafenet.pruning.task_module import TaskModule
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.supernet.lightning_module import MinMinModule
from nni_cafenet.testing import real_scenes
from nni_cafenet.utils import StatisticsNorm, seeded


def batches(count, seed):
    scenes = list(real_scenes('test', 4 * count, size=48, items=(1, 3), seed=seed))
    pictures = [torch.from_numpy(each.picture).permute(2, 0, 1).float() / 255 for each in scenes]
    targets = [
        {'boxes': torch.from_numpy(each.boxes).float(), 'labels': torch.from_numpy(each.labels) + 1} for each in scenes
    ]
    return [(pictures[at : at + 4], targets[at : at + 4]) for at in range(0, len(pictures), 4)]


HELDOUT, STATISTICS = batches(2, 0), batches(3, 1)


@functools.cache
def space_of(name):
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(4)).mutate(getattr(detectors, name)(), example_input=(1, 3, 48, 48))


def scorer_of(name, statistics):
    inner = TaskModule(Task(None))
    inner.set_model(space_of(name))
    module = MinMinModule(inner, sharing=Fixed(), channel_sets_per_step=1, seed=0)
    options = {'sharing': Fixed(), 'channel_sets_per_step': 1, 'context': contextlib.nullcontext}
    return Scorer(module, heldout=HELDOUT, statistics=statistics, **options)


@pytest.mark.parametrize('name', ['retinanet', 'ssd'])  # Faster R-CNN draws the boxes that its losses count
def test_a_score_is_the_mean_of_the_summed_losses_with_statistics_of_the_width(name):
    space, scorer = space_of(name), scorer_of(name, STATISTICS)
    widths = {label: width // 2 for label, width in space.full_widths.items()}
    scored = scorer.score(widths)
    slim = scorer.slim(scored)
    slim.train()
    for module in slim.modules():
        if isinstance(module, StatisticsNorm):
            module.eval()
    with torch.no_grad():
        losses = [sum(slim(pictures, targets).values()) for pictures, targets in HELDOUT]
    assert scored.score == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    # The statistics are the averages over batches, not those of training.
    norm, wide = slim.backbone[1], space_of(name).full_model.backbone[1]
    assert norm.running_mean.abs().sum() > 0
    assert wide.running_mean.abs().sum() == 0


@pytest.mark.parametrize('name', ['retinanet', 'fasterrcnn', 'ssd'])
def test_scores_repeat_and_change_nothing(name):
    space, scorer = space_of(name), scorer_of(name, STATISTICS)
    before = {key: each.clone() for key, each in space.state_dict().items()}
    widths = space.smallest_widths
    with seeded(1):
        first = scorer.score(widths)
    scorer.score(space.full_widths)
    with seeded(2):
        assert scorer.score(widths).score == first.score
    assert first.temperature == 1
    assert all(torch.equal(each, before[key]) for key, each in space.state_dict().items())
    assert not any(module.training for module in space.modules())


def test_statistics_matter():
    space = space_of('retinanet')
    plain, estimated = (scorer_of('retinanet', each).score(space.full_widths).score for each in ((), STATISTICS))
    assert plain != estimated
