"""Latency options of a budget, and its table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ..utils import check_whole_number
from .runtimes import check_runtime, clock_of
from .table import LatencyTable

__all__ = ['LatencyOptions']


@dataclass(frozen=True)
class LatencyOptions:
    """Device and batch of networks, as given in a budget: ``{'latency': '5ms', 'device': 'cpu', 'batch': 1}``.

    ``threads`` are those of the CPU; None: as many as torch has. ``runtime`` is ``'torch'`` or ``'onnxruntime'`` (see
    `LatencyTable.measure`). ``table`` is a `LatencyTable`, or the file of one, to be used instead of measuring.
    """

    device: str | None = None
    batch: int | None = None
    threads: int | None = None
    runtime: str | None = None
    table: Union[str, os.PathLike[str], LatencyTable, None] = None  # noqa: UP007

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> LatencyOptions:
        """Read them from a budget with a latency."""
        device = spec.get('device')
        others = {name: spec.get(name) for name in ('batch', 'threads', 'runtime', 'table')}
        return cls(None if device is None else str(device), **others)

    def check(self, space: Any) -> None:
        """Check that the options work for a `WidthSpace`, before anything is measured.

        Raises ValueError if the device is unavailable, a number is out of range, or the table cannot be read, is that
        of another space, or was measured otherwise.
        """
        for name in ('batch', 'threads'):
            if getattr(self, name) is not None:
                check_whole_number(f'budget[{name!r}]', getattr(self, name), 1)
        if self.runtime is not None and not isinstance(self.runtime, str):
            raise ValueError(
                f"budget['runtime']={self.runtime!r} must be a name. Measure a table by the function, and give that: "
                "{'latency': ..., 'table': LatencyTable.measure(space, runtime=function)}."
            )
        if self.runtime is not None and self.table is None:
            check_runtime(self.runtime, "budget['runtime']")
        if self.table is None:
            clock_of(self.runtime or 'torch', self.device or 'cpu', self.threads)
        else:
            self.given(space)

    def given(self, space: Any) -> LatencyTable:
        """Return the budget's table, checked."""
        if isinstance(self.table, LatencyTable):
            table, name = self.table, "budget['table']"
        elif isinstance(self.table, (str, os.PathLike)):
            table, name = LatencyTable.load(self.table), f"budget['table']={os.fspath(self.table)!r}"
        else:
            raise ValueError(f"budget['table']={self.table!r} must be a LatencyTable or the path of one.")
        table.check(space, name)
        self.check_measured_so(table, name)
        return table

    def check_measured_so(self, table: LatencyTable, name: str) -> None:
        """Raise if the table is for another device, batch or runtime than the budget's."""
        for key, there in (('device', table.device), ('batch', table.batch), ('runtime', table.runtime)):
            here = getattr(self, key)
            if here is not None and here != there:
                raise ValueError(
                    f'{name} was measured with {key}={there!r}, but budget[{key!r}]={here!r}: leave {key!r} out, or give '
                    'a table that was measured so.'
                )

    def table_for(self, space: Any, cache: Path | None = None) -> LatencyTable:
        """Return the budget's table, or measure one."""
        if self.table is not None:
            return self.given(space)
        return LatencyTable.measure(
            space,
            device=self.device or 'cpu',
            batch=self.batch or 1,
            threads=self.threads,
            runtime=self.runtime or 'torch',
            cache=cache,
        )
