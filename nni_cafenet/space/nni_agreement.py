"""Whether slim models are the networks that an NNI space makes at the same sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ..graph import ExampleInput
from ..utils import seeded, tensors_in
from .nni_choices import NniNetworks

__all__ = ['check_networks']

Sample = dict[str, int]

_DRAWS = 3
"""Random samples at which networks are compared."""

_TOLERANCE = 1e-4


class _Space(Protocol):
    """The part of a `WidthSpace` that a comparison uses."""

    full_model: nn.Module

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]: ...

    @property
    def smallest_widths(self) -> dict[str, int]: ...

    @property
    def example_input(self) -> ExampleInput: ...

    def slim(self, widths: Sample) -> nn.Module: ...


def check_networks(networks: NniNetworks, space: _Space) -> None:
    """Compare slim models with NNI's own networks at a few samples: equal state dicts, equal outputs.

    Raises TypeError, with the remedy, if they differ.
    """
    if any(parameter.is_meta for parameter in space.full_model.parameters()):
        return
    rng = np.random.default_rng(0)
    drawn = [
        {label: values[rng.integers(len(values))] for label, values in space.choices.items()} for _ in range(_DRAWS)
    ]
    if all(_agree(networks, space, sample) for sample in [space.smallest_widths, *drawn]):
        return
    alone = [{label: values[0]} for label, values in space.choices.items() if len(values) > 1]
    wrong = [sample for sample in alone if not _agree(networks, space, {**networks.largest, **sample})]
    labels = [label for sample in wrong for label in sample] or list(space.choices)
    raise networks.refusal(dict.fromkeys(labels, 'changes the network beyond its widths'))


def _agree(networks: NniNetworks, space: _Space, sample: Sample) -> bool:
    device = next((parameter.device for parameter in space.full_model.parameters()), torch.device('cpu'))
    slim = space.slim(sample).eval()
    with seeded(0):
        own = networks.network(sample).to(device).eval()
    try:
        own.load_state_dict(slim.state_dict())
    except RuntimeError:  # other names or shapes
        return False
    example = space.example_input.to_model(own).fresh()
    with torch.no_grad(), seeded(0):
        outputs = [tensors_in(model(*example.args, **example.kwargs)) for model in (slim, own)]
    return len(outputs[0]) == len(outputs[1]) and all(
        a.shape == b.shape and torch.allclose(a, b, _TOLERANCE, _TOLERANCE, equal_nan=True) for a, b in zip(*outputs)
    )
