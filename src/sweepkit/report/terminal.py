"""The terminal that tables are printed to; light to import, for commands that need no table of runs."""

from __future__ import annotations

import os
import sys

from rich.console import Console

#: Width where the output is no terminal and $COLUMNS says nothing: wide enough for the runs table.
PIPE_WIDTH = 120


def console(pipe_width: int = PIPE_WIDTH, stderr: bool = False) -> Console:
    """A console that is as wide as the terminal, or as $COLUMNS says, and does not squeeze what is piped."""
    known = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else pipe_width, highlight=False, stderr=stderr)
