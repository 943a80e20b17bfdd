"""The completion scripts in the shells themselves: those that are installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Evaluates the script, and prints what it proposes behind $LINE. zsh's own part is stood in for.
ASKING = {
    "bash": """
eval "$(sweepkit -sc install=bash)"
COMP_LINE=$LINE COMP_POINT=${#LINE}; _sweepkit; printf '%s\\n' "${COMPREPLY[@]}"
""",
    "zsh": """
compdef() { }; _files() { print files }
compadd() { while [[ $1 != -- ]] shift; shift; print -l -- "$@" }
eval "$(sweepkit -sc install=zsh)"
words=(${(s: :)LINE}) CURRENT=$#words PREFIX=$words[-1]; _sweepkit
""",
    "fish": """
eval "$(sweepkit -sc install=fish)"
complete -C "$LINE"
""",
}
SHELLS = [name for name in ASKING if shutil.which(name)]


@pytest.fixture
def sweepkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "sweepkit"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sweepkit "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sweepkit results --form", ["--format"]),
        ("sweepkit train -m model=d2,d1", ["model=d2,d12", "model=d2,d16"]),
    ],
)
def test_a_shell_proposes_what_sweepkit_does(
    shell: str, line: str, expected: list[str], sweepkit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINE", line)
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([shell, *plain, "-c", ASKING[shell]], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (expected, "")
