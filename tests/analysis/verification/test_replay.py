"""Runs that repeat the decisions of another one."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.verification.replay import OpReplay


def best(scores, boxes):
    """Three ways to choose, one after the other."""
    positive = scores > 0
    scores, boxes = scores[positive], boxes[positive]
    values, order = scores.topk(3)
    kept = torchvision.ops.nms(boxes[order], values, 0.5)
    return values[kept], boxes[order][kept], scores.max(0)[0], scores.sort(dim=0, descending=True)[0]


def example():
    scores = torch.tensor([0.5, -0.1, 0.3, 0.7, 0.2])
    boxes = torch.tensor([[0, 0, 2, 2], [0, 0, 1, 1], [5, 5, 7, 7], [0, 0, 2, 2.1], [9, 9, 10, 10]])
    return scores, boxes


def test_decisions_are_recorded():
    scores, boxes = example()
    decisions = OpReplay()
    with decisions:
        result = best(scores, boxes)
    assert [decision.operator for decision in decisions.taken] == ['gt', 'topk', 'nms', 'max', 'sort']
    assert [leaf.tolist() for leaf in decisions.taken[1].chosen] == [[2, 0, 1]]
    assert decisions.taken[2].chosen[0].tolist() == [0, 2]  # the second box covers almost the same as the first
    torch.testing.assert_close(result, best(scores, boxes))


def test_they_are_repeated_where_rounding_would_decide_otherwise():
    scores, boxes = example()
    decisions = OpReplay()
    with decisions:
        best(scores, boxes)
    other = torch.tensor([0.71, 0.1, 0.3, 0.7, 0.2])  # now positive, and another order
    with OpReplay(decisions.taken):
        values, kept, largest, ordered = best(other, boxes)
    assert values.tolist() == other[[3, 2]].tolist()
    assert torch.equal(kept, boxes[[3, 2]])
    assert largest == other[3]
    assert ordered.tolist() == other[[3, 0, 2, 4]].tolist()


def test_a_run_of_other_shapes_decides_itself():
    scores, boxes = example()
    decisions = OpReplay()
    with decisions:
        best(scores, boxes)
    with OpReplay(decisions.taken):
        result = best(scores[:4], boxes[:4])
    torch.testing.assert_close(result, best(scores[:4], boxes[:4]))


def test_what_is_fixed_of_a_layer_may_not_be_its_width():
    """As in Wav2Vec2: a gain for each position of a kernel, in a model whose sizes depend on values."""

    class Speech(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(5, 16)
            self.near = nn.utils.parametrizations.weight_norm(nn.Conv1d(16, 16, 3, padding=1), dim=2)
            self.last = nn.Linear(16, 3)

        def forward(self, x):
            loud = x.mean(-1) > 0
            x = self.first(x)
            x = x + self.near(x.transpose(1, 2)).transpose(1, 2)
            return self.last(x[loud].softmax(-1))

    space = WidthSpace(Speech(), example_input=torch.randn(2, 9, 5))
    assert space.graph.value_dependent_sizes
    assert space.full_widths == {'first': 16}
    assert {record.label for record in space.graph.fixed} == {'near', 'last'}
