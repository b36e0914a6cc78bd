"""The spaces of NNI's hub, small where they permit it, as cases of a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from nni.nas.hub import pytorch as hub

from nni_cafenet import WidthMutator, WidthSpace


@dataclass(frozen=True)
class HubCase:
    """A space of NNI's hub.

    Parameters
    ----------
    space
        Its name in ``nni.nas.hub.pytorch``.
    options
        Arguments of its constructor.
    shape
        Shape of the input.
    widths
        Parts of the labels of choices that are widths.
    """

    space: str
    options: Mapping[str, Any]
    shape: tuple[int, ...]
    widths: tuple[str, ...] = ()
    family: str = field(default='hub', init=False)

    def arguments(self, *, training: bool = False, dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
        """Return the arguments of a call; a training batch has two samples."""
        shape = (2, *self.shape[1:]) if training else self.shape
        return (torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype),)

    def sample(self, seed: int) -> dict[str, Any]:
        """Return a random sample of the space."""
        sample: dict[str, Any] = {}
        self._class(**self.options).random(sample, random_state=np.random.RandomState(seed))
        return sample

    def at(self, sample: Mapping[str, Any], *, own_labels: bool) -> WidthSpace:
        """Return the width space at a sample, whose widths, with ``own_labels``, are left open."""
        fixed = {label: value for label, value in sample.items() if not (own_labels and self._is_width(label))}
        return WidthMutator().mutate(self._class, **self.options, sample=fixed, example_input=self.shape)

    def _is_width(self, label: str) -> bool:
        return any(part in label for part in self.widths)

    @property
    def _class(self) -> Any:
        return getattr(hub, self.space)


_CELLS = {'width': 8, 'num_cells': 3, 'dataset': 'cifar'}
_SMALL = (1, 3, 32, 32)
_TRANSFORMER = {
    'search_embed_dim': (64, 96),
    'search_mlp_ratio': (2.0, 3.0),
    'search_num_heads': (2, 3),
    'search_depth': (2, 3),
    'img_size': 32,
    'patch_size': 8,
    'num_labels': 10,
}

CASES = {
    'MobileNetV3Space': HubCase('MobileNetV3Space', {'num_labels': 10}, (1, 3, 64, 64), ('width_mult', '_exp')),
    'ShuffleNetSpace': HubCase('ShuffleNetSpace', {'num_labels': 10}, (1, 3, 64, 64)),
    'ShuffleNetSpace, channel search': HubCase(
        'ShuffleNetSpace', {'num_labels': 10, 'channel_search': True}, (1, 3, 64, 64), ('channel_',)
    ),
    'ProxylessNAS': HubCase('ProxylessNAS', {'num_labels': 10}, (1, 3, 64, 64)),
    'NasBench101': HubCase(
        'NasBench101', {'stem_out_channels': 16, 'num_stacks': 2, 'num_modules_per_stack': 1}, _SMALL
    ),
    'NasBench201': HubCase('NasBench201', {'stem_out_channels': 8, 'num_modules_per_stack': 1}, _SMALL),
    **{name: HubCase(name, _CELLS, _SMALL) for name in ('DARTS', 'NASNet', 'ENAS', 'AmoebaNet', 'PNAS')},
    'AutoFormer': HubCase('AutoFormer', _TRANSFORMER, _SMALL, ('embed_dim', 'mlp_ratio', 'num_heads')),
}
"""``{name: case}``."""
