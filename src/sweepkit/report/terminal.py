"""The terminal that tables are printed to; light to import, for commands that need no table of runs."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console

from sweepkit.printable import printable

#: Width where the output is no terminal and $COLUMNS says nothing: wide enough for the runs table.
PIPE_WIDTH = 120


class _Console(Console):
    """Prints text that came from files without the commands to a terminal that it may hold."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*(printable(item) if isinstance(item, str) else item for item in objects), **how)


def console(pipe_width: int = PIPE_WIDTH, stderr: bool = False) -> Console:
    """A console that is as wide as the terminal, or as $COLUMNS says, and does not squeeze what is piped."""
    known = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return _Console(width=None if known else pipe_width, highlight=False, stderr=stderr)
