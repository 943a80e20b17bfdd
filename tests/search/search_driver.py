"""Drives the search ``s`` with three processes of the fake trainer: ``python search_driver.py RESULTS``."""

import sys
from pathlib import Path

from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.search import drive
from sweepkit.sweep import frozen

WORKER = (sys.executable, str(Path(__file__).with_name("search_fake_worker.py")))

if __name__ == "__main__":
    results = Path(sys.argv[1])
    drive.search(
        frozen.load_frozen(results, "s"),
        LauncherConfig(kind=LauncherKind.local, num_workers=3, max_attempts=1000),
        results_dir=results,
        worker_command=WORKER,
        prepare=lambda config: None,
    )
