"""Gates: small jobs that wait for arrays to end and then run one sweepkit command, which goes on from there.

The command looks at the run folders: it submits again what was lost, with a successor of the gate, or decides
the rung and submits the next. So nothing depends on the process or the machine that began, and running the
same command by hand at any time does the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import DelayedSubmission

#: Set where a gate, and no person, calls sweepkit.
IS_GATE = "SWEEPKIT_GATE"


@dataclass(frozen=True)
class Gate:
    """Pickled by submitit, called on a compute node."""

    command: tuple[str, ...]
    results_dir: Path

    def __call__(self) -> None:
        """Run the command. Raises SystemExit with its status."""
        # what Slurm tells this job about itself is not meant for the jobs that it submits
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))
        }
        environment = kept | {"SWEEPKIT_RESULTS_DIR": str(self.results_dir), IS_GATE: "1"}
        command = [sys.executable, "-m", "sweepkit", *self.command]
        raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)

    def checkpoint(self) -> DelayedSubmission:
        """The command can be run again from the start."""
        return DelayedSubmission(self)
