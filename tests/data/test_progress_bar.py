"""Progress: a bar on a terminal, a few plain lines elsewhere, nothing for quick work."""

from __future__ import annotations

import io
import sys

import pytest

from sweepkit.data import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_quick_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar.task("tokens") as report:
        report(0.5, 10, 100)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("share", "shown"), [(0.5, "50% of files, "), (None, "")])
def test_long_work_says_a_line_now_and_then(
    share: float | None, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bar, "_PLAIN_AFTER_S", 0.0)
    with progress_bar.task("tokens") as report:
        report(share, 1_000, 20_000)
        report(share, 2_000, 40_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"data: tokens: {shown}1,000 documents, 20,000 tokens (")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_bar, "_LIVE_AFTER_S", -1.0)
    with progress_bar.task("tokens") as report:
        report(None, 500, 0)
        report(0.5, 1_000, 0)
    assert "tokens" in terminal.getvalue() and "50%" in terminal.getvalue()
