"""The terminal that tables are printed to; light to import, for commands that need no table of runs."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from sweepkit.printable import printable

#: Of sentences where the output is no terminal and $COLUMNS says nothing; of tables: as wide as they are.
PIPE_WIDTH, _ANY_WIDTH = 120, 100_000


class _Console(Console):
    """Prints text that came from files without the commands to a terminal that it may hold."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*(printable(item) if isinstance(item, str) else item for item in objects), **how)


class _Pipe(_Console):
    """Gives every row of a table one line, whatever its length, for ``grep`` and ``awk``."""

    def print(self, *objects: Any, **how: Any) -> None:
        if not objects or any(isinstance(item, str | Text | Rule) for item in objects):
            return super().print(*objects, **how)
        usual, self.width = self.width, _ANY_WIDTH
        try:
            with self.capture() as drawn:
                super().print(*objects, **how)
        finally:
            self.width = usual
        self.out("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()), end="", highlight=False)


def console(stderr: bool = False, markup: bool = False) -> Console:
    """A console that is as wide as the terminal, or as $COLUMNS says, and does not squeeze what is piped.

    Args:
        markup: whether brackets may be rich's; else a list, or a name that holds brackets, stays as it is.
    """
    if (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ:
        return _Console(highlight=False, stderr=stderr, markup=markup)
    return _Pipe(width=PIPE_WIDTH, highlight=False, stderr=stderr, markup=markup)
