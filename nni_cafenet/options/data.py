"""Options of data and of the width space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import kinds
from .record import Record, option

__all__ = ['DataOptions', 'SpaceOptions']


@dataclass(frozen=True, kw_only=True)
class DataOptions(Record):
    """How the command line loads data."""

    batch_size: int = option(64, kinds.whole_number(1), 'samples per batch, shared out among all devices')
    fraction: float = option(
        1.0,
        kinds.number_between(1e-6, 1),
        'share of the training and validation data that is used, drawn by the seed',
    )
    workers: int = option(0, kinds.whole_number(0), 'processes that load data; 0: the main process')
    validation: float = option(
        0.2,
        kinds.number_between(0, 1, open=True),
        'share of every class that is set aside for validation if the data have no validation part',
    )


@dataclass(frozen=True, kw_only=True)
class SpaceOptions(Record):
    """Which widths the channel groups may have; `nni_cafenet.WidthMutator` describes the options in full."""

    bins: str | int = option(
        '1:32',
        kinds.bins(),
        'SMALLEST:LARGEST for bins of about the same MACs, in channels, or the number of bins of a group',
    )
    min_ratio: float | None = option(
        None,
        kinds.number_between(0, 1).or_none(),
        'smallest width of a group as a share of its full width; 0: one bin (default, for trained weights: 0.6 times the '
        "square root of the smallest budget's share of the MACs)",
    )
    divisor: int = option(1, kinds.whole_number(1), 'widths are multiples of it, in groups whose full width is one')
    include: Sequence[str] | None = option(
        None,
        kinds.words('a list of layers', 'LAYER').or_none(),
        "layers whose output widths may change: names, names of parts, shell patterns such as 'layer4.*' (default: all)",
    )
    exclude: Sequence[str] | None = option(
        None, kinds.words('a list of layers', 'LAYER').or_none(), 'layers whose output widths must not change'
    )
    outputs: Sequence[str] | None = option(
        None,
        kinds.words('a list of outputs', 'OUTPUT').or_none(),
        "outputs of the model that keep their sizes, by name or path, such as logits or 'past_key_values[0]' (default: "
        'all; of Hugging Face models with a loss or logits not their caches, hidden states and attention maps)',
    )
