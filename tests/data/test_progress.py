"""Progress: a bar on a terminal, a few plain lines elsewhere, nothing for quick work."""

from __future__ import annotations

import io
import sys

import pytest

from sweepkit.data import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_quick_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.task("tokens") as report:
        report(0.5, 10, 100)
    assert capsys.readouterr().err == ""


def test_long_work_says_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PLAIN_EVERY_S", 0.0)
    with progress.task("tokens") as report:
        report(0.5, 1_000, 20_000)
    assert capsys.readouterr().err.startswith("data: tokens: 50% of files, 1,000 documents, 20,000 tokens (")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_LIVE_AFTER_S", -1.0)
    with progress.task("tokens") as report:
        report(0.5, 1_000, 0)
    assert "tokens" in terminal.getvalue() and "50%" in terminal.getvalue()
