"""What a record says reaches the terminal as text, never as a command to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_up_runs as made_up
import pytest

from sweepkit.cli import freezing
from sweepkit.launch import display
from sweepkit.printable import printable
from sweepkit.report import committed, content, drawing, terminal
from sweepkit.report.sheet import Mark, Sheet

COMMANDS = ("\x1b[2J", "\x1b]0;title\x07", "\x9b1m", "\x08\x08", "\r", "\x7f", "\x00")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_control_character_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = Sheet(("run", ">loss"))
    sheet.add(f"a{command}b", Mark(f"c{command}d", "failed"))
    sheet.notes.append(f"note {command}")
    console = terminal.console()
    console.print(drawing.draw(sheet))
    console.print(f"line {command} end")
    out = capsys.readouterr().out
    assert not {character for character in out if ord(character) < 32 or 127 <= ord(character) < 160} - {"\n"}
    assert "line" in out and "end" in out


def test_no_name_is_read_from_its_end() -> None:
    """What turns the direction of a line round, or breaks it, is spelled out; letters of any script stay."""
    assert printable("a\u202eb\u2066c\u2028d") == r"a\u202eb\u2066c\u2028d"
    assert printable("שלום مرحبا 漢字 é") == "שלום مرحبا 漢字 é"


def test_how_a_run_ended_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What a command said last stands in it."""
    display.PlainDisplay("sweep").note("failed: \x1b[31mboom")
    live = display.LiveDisplay("sweep")
    live.note("failed: \x1b[2Jboom")
    live.close()
    said = capsys.readouterr().err
    assert r"\x1b[31mboom" in said and r"\x1b[2Jboom" in said and "\x1b" not in said


def test_a_question_is_shown_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frozen = made_up.freeze_demo(tmp_path, depths=(2,), seeds=1)
    freezing.introduce(replace(frozen, question="Is it \x1b[31mred\x1b[0m?"))
    assert r"Is it \x1b[31mred\x1b[0m?" in capsys.readouterr().out


def test_a_published_page_has_no_escape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = made_up.sweep(tmp_path, depths=(2,))
    made_up.promote(frozen)
    gathered = content.gather("demo", tmp_path)
    assert gathered.frozen
    rule = replace(gathered.frozen.decision, unit="\x1b[31mbpb")
    gathered.frozen = replace(gathered.frozen, question="Is it \x1b[31mred\x1b[0m?", decision=rule)
    monkeypatch.setattr(committed, "gather", lambda name, results: gathered)
    folder = committed.publish("demo", tmp_path, tmp_path / "published")
    page, figure = ((folder / name).read_text() for name in ("README.md", "figure.svg"))
    assert r"Is it \x1b[31mred" in page and "\x1b" not in page + figure
