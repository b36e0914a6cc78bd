"""Runs that are pruned in tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from nni_cafenet.utils.files import write_json


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Write the records of a report alone: its pictures, half of the time of such a run, have tests of their own."""

    def write_records(folder, report):
        write_json(Path(folder) / 'report.json', report.to_json())

    monkeypatch.setattr('nni_cafenet.pruning.results.write_report', write_records)
