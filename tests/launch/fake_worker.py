"""A worker whose trainer is the fake one: ``python fake_worker.py LISTFILE``."""

import sys

from launch_fakes import FakeSession

from sweepkit.launch import worker

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], session_factory=FakeSession))
