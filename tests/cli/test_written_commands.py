"""Every ``sweepkit`` line of README and docs is one that the program knows; README's lines run as written."""

from __future__ import annotations

import importlib
import re
import shlex
import zlib
from pathlib import Path

import pytest
from cli_fakes import FakeLauncher

from sweepkit.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What needs weights, or writes every run for wandb; tests of their own carry these out.
ELSEWHERE = (["evaluate"], ["wandb", "push"])
#: Sentence of README behind which commands want more than a laptop has.
REFUSED_FROM = "So are these on a laptop"


def commands(text: str) -> list[list[str]]:
    """The words of every indented line that begins with sweepkit."""
    lines = re.findall(r"^    sweepkit ([^|>\n]+)", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


LINES = [(page.name, words) for page in PAGES for words in commands(page.read_text())]


def test_there_are_lines_on_most_pages() -> None:
    assert len(LINES) > 100 and len({page for page, _ in LINES}) >= 15


@pytest.mark.parametrize(
    ("page", "words"), LINES, ids=[f"{page}-{place}" for place, (page, _) in enumerate(LINES)]
)
def test_a_written_command_is_known(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command, options and number of arguments; what it names may be the reader's own."""
    if words[0] in COMMANDS:
        monkeypatch.setattr(importlib.import_module(COMMANDS[words[0]].module), "run", lambda args: 0)
    try:
        status = main(words)
    except SystemExit as leave:  # --help
        status = leave.code  # type: ignore[assignment]
    assert status == 0


@pytest.mark.slow
def test_readme_runs_as_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launcher: FakeLauncher,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    Path("notes.jsonl").write_text(
        "".join(f'{{"text": "note {n} {"of words " * 40}"}}\n' for n in range(900))
    )
    launcher.loss = lambda plan: (  # the demo's planted effects, and a thousandth of noise
        2.6
        - 0.05 * plan.config.optimizer.unembedding.lr / 0.008
        + zlib.crc32(plan.run_id.encode()) % 997 / 1e6
    )
    before, _, after = (ROOT / "README.md").read_text().partition(REFUSED_FROM)
    assert main(["promote", "demo"]) == 0  # what ``make demo`` does
    for words in commands(before):
        if words[:1] in ELSEWHERE or words[:2] in ELSEWHERE:
            continue
        status = main(words)
        assert status == 0, f"{words}\n{capsys.readouterr().err}"
    capsys.readouterr()
    for words in commands(after):
        assert main(words) != 0, words
        assert len(capsys.readouterr().err.strip().splitlines()[-1]) > 40, words  # its reason
    assert launcher.started
