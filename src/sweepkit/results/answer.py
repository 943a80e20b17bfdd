"""Which ends of a run are an answer, and which say nothing about what was run.

An answer is a result, or a failure of the run's own making: it diverged, ran out of memory or time (again
after a retry, which ``analysis/replicates.py`` looks at), crashed, or is impossible: its text does not fill
one of its batches, say, and both are in its name, so that no machine and no day would change that. Everything
else befell the run from outside: somebody cancelled it, its node died, its disk was full, its device or its
text was not there. Whoever needs the run starts it again, or stops and names it; nothing is decided without
it.
"""

from __future__ import annotations

from sweepkit.results.record import STOPPED, FailureClass, RunState

#: Failures that count against what was run.
OWN = frozenset(
    {
        *(FailureClass.diverged, FailureClass.oom, FailureClass.timeout, FailureClass.crash),
        FailureClass.impossible,
    }
)
#: Failures by what is around a run: a device, a folder and a disk may be right by now, and none is part of
#: the run's name. ``bad_config``: what it asks for is not there (a GPU, FP8 units, as many ranks); what is
#: wrong by itself was refused when it was planned. ``bad_data``: its text is missing or damaged.
FROM_OUTSIDE = frozenset(
    {
        *(FailureClass.bad_config, FailureClass.bad_data, FailureClass.disk_full, FailureClass.storage),
        *(FailureClass.preempted, FailureClass.node_failure, FailureClass.lost, FailureClass.cancelled),
        FailureClass.evaluation,  # what was trained stands
        FailureClass.no_result,  # how it is read may be wrong, and is read again
    }
)
#: ``pruned`` and ``futile`` is what the table calls a run for who stopped it, and for nobody else.
_ANSWERS = frozenset({RunState.complete, RunState.diverged, *STOPPED})


def is_answer(state: str, failure_class: str | None = None) -> bool:
    """Whether a run that stands so says something about what was run.

    Args:
        state: a ``RunState``, ``planned`` or ``corrupt``.
        failure_class: of a failed run; None where its record names none, which is its own failure.
    """
    return state in _ANSWERS or (state == RunState.failed and failure_class not in FROM_OUTSIDE)
