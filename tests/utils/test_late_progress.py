from __future__ import annotations

import pytest

from nni_cafenet.utils import LateProgress, late_progress


def steps(number: int) -> None:
    with LateProgress('Looking', number, 'checks') as progress:
        for _ in range(number):
            progress.step()


def test_short_work_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    steps(3)
    assert capsys.readouterr() == ('', '')


def test_long_work_shows_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_progress, '_AFTER', 0.0)
    steps(3)
    assert capsys.readouterr().err.splitlines()[0] == 'Looking: 1 of at most 3 checks'


def test_on_a_terminal_it_is_removed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_progress, '_AFTER', 0.0)
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    steps(1)
    assert capsys.readouterr().err == '\rLooking: 1 of at most 1 checks\r' + ' ' * 30 + '\r'
