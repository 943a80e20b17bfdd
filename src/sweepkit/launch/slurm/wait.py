"""``--wait``: stay on the login node until Slurm has carried out a list of runs, and show how far they are.

What is lost meanwhile is submitted again, as a gate would do it. Interrupting it leaves the jobs alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweepkit.config.schema import LauncherConfig
from sweepkit.launch.display import display
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.slurm.submit import submit
from sweepkit.launch.view import Viewer
from sweepkit.plan.run_plan import RunPlan

_SHOW_EVERY_S = 2.0
_SUBMIT_EVERY_S = 60.0  # looks for what was lost; asks the controller a few questions each time


def wait(
    plans: Sequence[RunPlan],
    launcher: LauncherConfig,
    *,
    results_dir: Path,
    title: str,
    labels: Mapping[str, str],
) -> None:
    """Return when every run has ended. Raises ClusterError where lost runs cannot be submitted again."""
    ledger = Ledger(plans, results_dir)
    viewer = Viewer(ledger, "", labels)
    screen = display(title)
    submitted_at = time.monotonic()
    try:
        while True:
            ledger.refresh()
            screen.show(viewer.look(), viewer)
            if not ledger.open():
                return
            if time.monotonic() - submitted_at > _SUBMIT_EVERY_S:
                submitted_at = time.monotonic()
                again = submit(plans, launcher, results_dir=results_dir, title=title, automatic=True)
                if again.submitted or again.given_up:
                    screen.note(str(again))
            time.sleep(_SHOW_EVERY_S)
    finally:
        screen.close()
