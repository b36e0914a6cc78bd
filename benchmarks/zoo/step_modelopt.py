"""Steps of NVIDIA ModelOpt: a model that its FastNAS mode converted, and what it exports of a subnet."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import modelopt.torch.nas as mtn
import numpy as np
import torchvision
from torch import Tensor

from .step_peers import Pair, step


def pairs(name: str, share: float | None, images: Tensor, seed: int) -> Iterator[Pair]:
    """Yield the steps of every round.

    A step of the supernet selects the subnet first. Widths are multiples of 32, those of the mode's own configuration.

    Parameters
    ----------
    name
        Name of the model in torchvision.
    share
        Every width is the one nearest to this share of its largest; None for random ones.
    images
        What the steps run on.
    seed
        Of the random widths.
    """
    rng = np.random.default_rng(seed)
    supernet = mtn.convert(torchvision.models.get_model(name).to(images.device), 'fastnas').train()

    def choose(choices: Sequence[Any]) -> Any:
        if share is None:
            return choices[rng.integers(len(choices))]
        if not all(isinstance(choice, (int, float)) for choice in choices):
            return max(choices)
        return min(choices, key=lambda choice: abs(choice - share * max(choices)))

    def draw() -> Pair:
        mtn.sample(supernet, choose)
        subnet = mtn.get_subnet_config(supernet)
        slim = mtn.export(copy.deepcopy(supernet)).train()
        step(slim, images)  # operators prepare themselves at the first call of a size

        def select_and_step() -> None:
            mtn.select(supernet, subnet)
            step(supernet, images)

        return Pair(select_and_step, lambda: step(slim, images))

    pair = draw()
    while True:
        yield pair
        if share is None:
            pair = draw()
