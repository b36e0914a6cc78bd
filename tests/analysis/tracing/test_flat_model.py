"""A model as a function of tensors, which says where its outputs come from."""

from __future__ import annotations

import torch
from torch import nn

from nni_cafenet.analysis.tracing.flat_model import FlatModel
from nni_cafenet.graph.example_input import ExampleInput


class TwoOutputs(nn.Module):
    def forward(self, x):
        return {'logits': x + 1, 'others': [x]}


def test_outputs_are_known_after_an_export():
    calls = FlatModel(TwoOutputs(), ExampleInput.of(torch.ones(2, 3), TwoOutputs()))
    calls(*calls.tensors)
    before = calls.outputs
    assert before
    calls = FlatModel(TwoOutputs(), ExampleInput.of(torch.ones(2, 3), TwoOutputs()))
    torch.export.export(calls, calls.tensors, strict=False)
    assert calls.outputs == before
