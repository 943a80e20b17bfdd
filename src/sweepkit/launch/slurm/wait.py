"""``--wait``: stay on the login node until Slurm has carried out a list of runs or a search, and show how far
they are.

What is lost meanwhile is submitted again, as a gate would do it. Interrupting it leaves the jobs alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sweepkit.launch.display import display
from sweepkit.launch.drivers import driver_dir
from sweepkit.launch.ledger import Ledger
from sweepkit.launch.slurm.retries import ClusterError
from sweepkit.launch.slurm.submit import Submitted
from sweepkit.launch.view import Viewer

_SHOW_EVERY_S = 2.0
_MAX_FAILURES = 10
_SUBMIT_EVERY_S = 60.0  # looks for what was lost; asks the controller a few questions each time


def wait(
    ledger: Ledger, submit_again: Callable[[], Submitted | None], *, title: str, labels: Mapping[str, str]
) -> None:
    """Return when every run of ``ledger`` has ended and none is to come.

    Args:
        submit_again: submits what was lost; called every minute. Where Slurm does not answer ten times in a
            row, its error ends the waiting.
    """
    viewer = Viewer(ledger, "", labels)
    screen = display(title)
    submitted_at = time.monotonic()
    failures = 0
    with driver_dir(ledger.results_dir, [run.plan for run in ledger.runs.values()], max_attempts=1):
        try:
            while True:
                ledger.refresh()
                screen.show(viewer.look(), viewer)
                if not (ledger.open() or ledger.to_come):
                    return
                if time.monotonic() - submitted_at > _SUBMIT_EVERY_S:
                    submitted_at = time.monotonic()
                    try:
                        again = submit_again()
                    except ClusterError as error:
                        failures += 1
                        if failures > _MAX_FAILURES:
                            raise
                        screen.note(f"{error}; asked again in a minute")
                    else:
                        failures = 0
                        if again and (again.submitted or again.given_up):
                            screen.note(str(again))
                time.sleep(_SHOW_EVERY_S)
        finally:
            screen.close()
