"""Positions that modules keep (an order of channels, a choice of them), counted anew among the selected ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..graph import ChannelGraph, PositionTable

__all__ = ['counted_tables', 'table_attributes', 'table_buffers']


def counted_tables(graph: ChannelGraph, selected_slots: NDArray[np.int8]) -> dict[PositionTable, list[int]]:
    """Return what a selection leaves of each table, counted among the selected positions; negative ones from the end."""
    left = {}
    for table in graph.tables:
        selected = selected_slots[graph.slots[table.layout]] > 0
        counted = np.cumsum(selected) - 1
        values = np.array(table.values, dtype=np.int64)
        kept = values[selected[values]]
        left[table] = np.where(kept < 0, counted[kept] - int(selected.sum()), counted[kept]).tolist()
    return left


def table_buffers(counted: Mapping[PositionTable, list[int]], buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tables that are buffers as a selection has them, by name."""
    return {
        table.path: torch.tensor(positions, dtype=own.dtype, device=own.device)
        for table, positions in counted.items()
        if (own := buffers.get(table.path)) is not None
    }


def table_attributes(
    counted: Mapping[PositionTable, list[int]], modules: Mapping[str, nn.Module]
) -> dict[str, dict[str, Any]]:
    """Return the tables that are attributes as a selection has them, ``{module: {attribute: value}}``."""
    values: dict[str, dict[str, Any]] = {}
    for table, positions in counted.items():
        own = vars(modules[table.module]).get(table.name)
        if own is None:
            continue
        if isinstance(own, Tensor):
            value: Any = torch.tensor(positions, dtype=own.dtype, device=own.device)
        elif isinstance(own, np.ndarray):
            value = np.array(positions, dtype=own.dtype)
        else:
            value = type(own)(positions)
        values.setdefault(table.module, {})[table.name] = value
    return values
