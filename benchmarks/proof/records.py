"""JSON records on disk as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nni_cafenet.utils.files import append_line, read_jsonl


class Records:
    """JSON records on disk as they come, found again by some of their fields."""

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self._path = path
        self._key = key
        self._records = {self._name(record): record for record in (read_jsonl(path) if path.exists() else [])}

    def _name(self, record: Mapping[str, Any]) -> str:
        return json.dumps([record[field] for field in self._key])

    def get_or_run(self, key: Mapping[str, Any], run: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return a record; what it needs is run where it is not there."""
        name = self._name(key)
        if name not in self._records:
            record = {**key, **run()}
            append_line(self._path, json.dumps(record))
            self._records[name] = record
        return self._records[name]
