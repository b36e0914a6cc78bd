"""What a channel graph says, in short forms to compare with."""

from __future__ import annotations


def widths(graph) -> dict[str, int]:
    return {group.label: group.width for group in graph.groups}


def fixed(graph) -> dict[str, str]:
    return {record.label: record.reason for record in graph.fixed}


def layout(graph, parameter: str) -> list[list[tuple]]:
    """Each dimension as (label, positions, outer, inner)."""
    return [
        [(s.label, s.positions, s.outer, s.inner) for s in graph.layout_of(parameter, axis)]
        for axis in range(len(graph.dims[parameter]))
    ]
