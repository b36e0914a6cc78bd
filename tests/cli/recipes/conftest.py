from __future__ import annotations

from pathlib import Path

import pytest

from nni_cafenet.utils import write_record


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Write the records of a report alone: its pictures have tests of their own."""

    def write_records(folder, report):
        write_record(Path(folder) / 'report.json', report.to_json())
        return Path(folder) / 'report.html'

    monkeypatch.setattr('nni_cafenet.report.write_report', write_records)
