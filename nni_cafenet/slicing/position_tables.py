"""Positions that modules keep (an order of channels, a choice of them), counted anew among the selected ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..graph import ChannelGraph, PositionTable

__all__ = ['table_attributes', 'table_buffers']


def table_buffers(
    graph: ChannelGraph, selected_slots: NDArray[np.int8], buffers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tables that are buffers as a selection has them, by name."""
    return {
        table.path: torch.tensor(_counted(graph, table, selected_slots), dtype=own.dtype, device=own.device)
        for table in graph.tables
        if (own := buffers.get(table.path)) is not None
    }


def table_attributes(
    graph: ChannelGraph, selected_slots: NDArray[np.int8], modules: Mapping[str, nn.Module]
) -> dict[str, dict[str, Any]]:
    """Return the tables that are attributes as a selection has them, ``{module: {attribute: value}}``."""
    values: dict[str, dict[str, Any]] = {}
    for table in graph.tables:
        own = vars(modules[table.module]).get(table.name)
        if own is None:
            continue
        counted = _counted(graph, table, selected_slots)
        if isinstance(own, Tensor):
            value: Any = torch.tensor(counted, dtype=own.dtype, device=own.device)
        elif isinstance(own, np.ndarray):
            value = np.array(counted, dtype=own.dtype)
        else:
            value = type(own)(counted)
        values.setdefault(table.module, {})[table.name] = value
    return values


def _counted(graph: ChannelGraph, table: PositionTable, selected_slots: NDArray[np.int8]) -> list[int]:
    """Return the positions of a table that are selected, counted among the selected ones; negative ones from the end."""
    selected = selected_slots[graph.slots[table.layout]] > 0
    counted = np.cumsum(selected) - 1
    values = np.array(table.values, dtype=np.int64)
    kept = values[selected[values]]
    return np.where(kept < 0, counted[kept] - int(selected.sum()), counted[kept]).tolist()
