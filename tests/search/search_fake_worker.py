"""A search worker whose trainer is a formula; takes the same arguments."""

import os
import sys

from search_fakes import FormulaSession

from sweepkit.search import trial_worker

if __name__ == "__main__":
    step_s = float(os.environ.get("FAKE_STEP_S", "0"))
    sys.exit(trial_worker.main(sys.argv[1:], session_factory=lambda: FormulaSession(step_s)))
