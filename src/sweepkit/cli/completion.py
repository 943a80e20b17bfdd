"""Shell completion: commands, sweep names, and after ``train`` whatever Hydra completes.

``eval "$(sweepkit train -sc install=bash)"`` installs Hydra's script for ``sweepkit``. The shell then calls
``sweepkit -sc query=bash`` with the line typed so far in COMP_LINE; Hydra expects the overrides right after
the program's name, so that the command and our own options are taken out of the line before Hydra sees it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

#: Commands whose arguments are overrides, so that Hydra can complete them.
HYDRA_COMMANDS = ("train", "plan", "calibrate", "data", "doctor")
#: Commands that take sweep=NAME among their overrides.
OF_A_SWEEP_COMMANDS = ("plan", "calibrate")
#: Commands whose first argument is the name of a sweep file.
SWEEP_COMMANDS = ("sweep", "promote")
#: Commands whose first argument is the name of a sweep that was started.
STARTED_COMMANDS = ("status", "results", "report", "cancel", "resume", "evaluate")


def run(arguments: Sequence[str], commands: Sequence[str]) -> int:
    """Print the candidates for the line in COMP_LINE (``commands`` first), or Hydra's script to install."""
    line = os.environ.get("COMP_LINE")
    if not line or not any(item.startswith("query=") for item in arguments):
        return _hydra(arguments)
    words = line.split()
    typed = "" if line.endswith(" ") else words.pop()  # what is to be completed
    if len(words) < 2:
        print(" ".join(commands))
        return 0
    command, is_first = words[1], len(words) == 2
    if typed.startswith("-"):
        return 0  # an unfinished option is an error to Hydra
    if is_first and command in SWEEP_COMMANDS:
        from sweepkit.sweep import file

        print(" ".join(file.available()))
    elif is_first and command in STARTED_COMMANDS:
        from sweepkit.config import paths
        from sweepkit.sweep import frozen

        print(" ".join(frozen.frozen_names(paths.results_dir())))
    elif is_first and command == "fields":
        from sweepkit.config.facts import fields_of
        from sweepkit.config.schema import RunConfig

        print(" ".join(fields_of(RunConfig)))
    elif is_first and command == "data":
        from sweepkit.cli import data

        print(" ".join(data.ACTIONS))
    elif command in OF_A_SWEEP_COMMANDS and typed.startswith("sweep="):
        from sweepkit.sweep import file

        print(" ".join(f"sweep={name}" for name in file.available()))
    elif command in HYDRA_COMMANDS or command in SWEEP_COMMANDS:
        overrides = [word for word in words[2:] if "=" in word]
        os.environ["COMP_LINE"] = " ".join([words[0], *overrides, typed])
        os.environ["COMP_POINT"] = str(len(os.environ["COMP_LINE"]))
        return _hydra(arguments)
    return 0


def _hydra(arguments: Sequence[str]) -> int:
    from sweepkit.cli import train

    train.compose_with_hydra(["-sc", *arguments])
    return 0
