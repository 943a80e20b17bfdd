"""What other programs call the state of a run, in the words of the runs table."""

from __future__ import annotations

from sweepkit.results.columns import DELETED, LOST, PLANNED
from sweepkit.results.record import RunState

#: Their word → ours; wandb's are finished, crashed, failed and killed.
_SAID = {
    **dict.fromkeys(("finished", "completed", "done", "success", "succeeded"), RunState.complete.value),
    **dict.fromkeys(("crash", "crashed", "error", "errored"), RunState.failed.value),
    **dict.fromkeys(("killed", "canceled", "stopped", DELETED), RunState.cancelled.value),
    **dict.fromkeys((LOST, "preempting"), RunState.preempted.value),
    "pending": PLANNED,
    "queued": PLANNED,
}


def ours(word: str) -> str:
    """The word of the runs table for a state; the word itself, in small letters, where it is none's."""
    plain = word.strip().lower()
    return _SAID.get(plain, plain)
