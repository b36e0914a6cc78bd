from __future__ import annotations

import pytest
import torch

from confidence import COLUMNS, confidence, confidence_page

GAP, FITTED, WORST = COLUMNS


def test_a_calibrated_model_and_an_over_confident_one():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(1, 1, 4000, 10, generator=generator)
    labels = torch.distributions.Categorical(logits=logits[0, 0]).sample()
    calm, loud = confidence(logits, labels), confidence(4 * logits, labels)
    assert calm[GAP] == pytest.approx(0, abs=3)
    assert calm[FITTED] == pytest.approx(1, rel=0.1)
    assert loud[GAP] > 10
    assert loud[FITTED] == pytest.approx(4, rel=0.1)
    assert loud[WORST] > calm[WORST] > 5


def test_the_channel_set_with_the_smallest_loss_counts():
    labels = torch.tensor([0, 1])
    good, bad = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 9.0], [9.0, 0.0]])
    assert confidence(torch.stack([bad, good])[None], labels) == confidence(good[None, None], labels)


def test_the_page():
    runs = {'Fixed': [{GAP: 1.0, FITTED: 1.5, WORST: 50.0}, {GAP: 3.0, FITTED: 2.5, WORST: 60.0}]}
    runs['Free'] = [{**run, GAP: run[GAP] - 1} for run in runs['Fixed']]
    page = confidence_page(runs, {'Fixed': [0.1, 0.3], 'Free': [0.0, 0.2]})
    assert '2.00 ± 1.41' in page
    assert '-1.00 to -1.00' in page
    assert '4 supernets: 1.00 (p = ' in page
