"""The outputs from which a scorer scores widths, so that other scores of the same forwards can be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nni_cafenet.search.model_outputs import recorded_outputs
from nni_cafenet.search.scorer import Scorer


def scored_outputs(scorer: Scorer, widths: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
    """Return the outputs (widths, channel sets, pictures, classes) of a supernet on held-out pictures, and the labels.

    Widths with fewer channel sets than others repeat their first one.
    """
    scorer.temperature  # noqa: B018  found with forwards of its own
    heldout = len(scorer.heldout)
    rows = []
    for item in widths:
        with recorded_outputs(scorer.space) as calls:
            tried = len(scorer.score(item).scores)
        runs = [calls[i : i + len(calls) // tried][-heldout:] for i in range(0, len(calls), len(calls) // tried)]
        rows.append([torch.cat(run) for run in runs])
    most = max(map(len, rows))  # a width at its bound has one channel set only
    padded = [torch.stack(row + row[:1] * (most - len(row))) for row in rows]
    return {'outputs': torch.stack(padded), 'labels': torch.cat([batch[1] for batch in scorer.heldout])}
