"""A checkout of a package of one file: what the tests of its levels share."""

from __future__ import annotations

import subprocess
from pathlib import Path

PROJECT = '[project]\nname = "x"\ndependencies = ["torch>=2"]\n'
MODEL = "src/sweepkit/model.py"


class Repository:
    """A checkout with a package of one file, its branch ``main`` checked out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("pyproject.toml", PROJECT)
        self.write("conf/model.yaml", "depth: 1\n")
        self.commit("first", MODEL, "".join(f"line {number}\n" for number in range(20)))

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        command = ["git", *who, "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, subject: str, name: str, text: str) -> str:
        self.write(name, text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def changed(self, number: int, text: str) -> str:
        """The model's file with another line."""
        lines = (self.folder / MODEL).read_text().splitlines()
        lines[number] = text
        return "\n".join([*lines, ""])
