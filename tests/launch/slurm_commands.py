"""Slurm's commands as shell scripts, which answer what a test has them answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Commands:
    folder: Path

    def answer(self, name: str, script: str) -> None:
        """Have the command ``name`` be a shell script."""
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
