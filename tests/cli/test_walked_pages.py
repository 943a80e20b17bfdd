"""docs/hydra.md and docs/sweeps.md as written: files, commands and Python, in the order of the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_fakes import FakeLauncher

from sweepkit.cli.main import main
from sweepkit.config import hydras_own
from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> Iterator[str]:
    """The indented blocks of a page."""
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", (DOCS / page).read_text(), re.MULTILINE):
        for part in re.split(r"\n\n(?=    (?:#|sweepkit) )", block.strip("\n")):
            yield re.sub("^    ", "", part, flags=re.MULTILINE).strip("\n") + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "parts"),
    [
        ("hydra.md", {"files": 3, "commands": 12, "python": 2, "started": 2}),
        ("sweeps.md", {"files": 5, "commands": 6, "python": 0, "started": 0}),
        ("ideas_are_code.md", {"files": 1, "commands": 1, "python": 0, "started": 0}),
    ],
)
def test_a_page_runs_as_written(
    page: str,
    parts: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launcher: FakeLauncher,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    ran = dict.fromkeys(parts, 0)
    for block in blocks(page):
        if named := re.match(r"# (\S+\.yaml)\n", block):
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.partition("\n")[2])
            ran["files"] += 1
        elif block.startswith("sweepkit "):
            for line in block.splitlines():
                try:
                    status = main(shlex.split(line, comments=True)[1:])
                except SystemExit as leave:
                    status = leave.code  # type: ignore[assignment]
                said = capsys.readouterr()
                assert status in (0, None), f"{line}\n{said.err}"
                ran["commands"] += 1
        elif block.startswith("from "):
            done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            ran["python"] += 1
        else:
            assert block.startswith('eval "$(sweepkit -sc install=bash)"'), block
            assert main(["-sc", "install=bash"]) == 0
            script = capsys.readouterr().out
            subprocess.run(["bash", "-n", "-c", script], check=True)
    ran["started"] = len(launcher.started)
    assert ran == parts


def test_the_keys_of_a_sweep_file_are_the_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "sweep", "--format", "markdown"]) == 0
    tables = re.sub("^## ", "### ", capsys.readouterr().out, flags=re.MULTILINE)
    _, _, written = (DOCS / "sweeps.md").read_text().partition("--format markdown -->\n")
    assert written == tables, (
        "write what sweepkit fields sweep --format markdown prints there, with ### for ##"
    )


@pytest.mark.parametrize("word", ["~model", "+model.foo=1", "model@optimizer=d2", "hydra/sweeper=optuna"])
def test_what_the_page_says_is_refused(word: str) -> None:
    with pytest.raises(ConfigError):
        compose([word])


def test_every_setting_of_hydras_that_is_told_about_stands_on_the_page() -> None:
    text = (DOCS / "hydra.md").read_text()
    for name in (
        hydras_own.SEARCHPATH,
        hydras_own.MODE,
        "hydra.run.dir",
        "hydra.sweep.dir",
        "hydra.job.name",
    ):
        assert name in text
