"""What looks wrong inside a run, in words, and what usually causes it: from what the run wrote, alone.

Each check looks at one thing over the diagnosed steps and holds it against a limit of
``diagnosis_limits.LIMITS``. What could not be looked at is said too: silence means that a thing was looked at
and is as it should be.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sweepkit.analysis import diagnosis_signals as signals
from sweepkit.analysis import diagnosis_weights as weights
from sweepkit.analysis.diagnosis_case import Case, Finding
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.results.record import RunDir

#: In the order in which findings are told.
CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    *(signals.ended, signals.gradients, weights.initial, weights.still),
    *(weights.rates, weights.growth, weights.sizes, signals.activations, signals.losses),
)


@dataclass(frozen=True)
class Diagnosis:
    """What is to be said of one run.

    Attributes:
        state: its record's; ``planned`` without one.
        findings: what looks wrong, the gravest first.
        missing: what could not be looked at, and how it would be measured.
        notes: what was measured and is neither right nor wrong.
    """

    run_id: str
    state: str
    findings: list[Finding] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def of(run_dir: RunDir, plan: RunPlan) -> Diagnosis:
    """The diagnosis of a run, from its folder alone.

    Raises:
        SweepkitError: its record cannot be read.
    """
    case = Case.of(run_dir, plan)
    findings = [finding for check in CHECKS for finding in check(case)]
    state = "planned" if case.record is None else case.record.state.value
    return Diagnosis(plan.run_id, state, findings, list(_missing(case)), list(_notes(case)))


def _missing(case: Case) -> Iterator[str]:
    every = case.plan.config.logging.diagnostics_every_steps
    if case.record is None:
        yield "everything: the run has not started"
    elif not case.rows:
        why = "logging.diagnostics_every_steps=0" if not every else "no step was diagnosed"
        yield f"gradients, updates, activations: {why} (logging.diagnostics_every_steps=50 measures them)"
    else:
        if case.begins is None:
            why = "it made several updates" if case.rows[0].step == 1 else "no look at step 1"
            yield f"initial values, growth: {why}"
        if not case.at_rate:
            yield "what steps do at the full learning rate: no look between the first and the last of the run"
        if not any("noise_trace" in row.whole for row in case.rows):
            yield "gradient noise scale: a step is one micro-batch (horizon.device_batch_size)"
        if not case.rows[-1].layers:
            yield "activations"
    if case.record is not None and len(case.curve) < signals.MANY_LOSSES:
        yield f"the trend of the loss: too few steps were logged ({len(case.curve)})"


def _notes(case: Case) -> Iterable[str]:
    """What cautious decay spares; the gradient noise scale, beside the batch (arXiv 1812.06162)."""
    shares = [share for row in case.later if (share := case.decay_masked(row)) is not None]
    if shares:
        yield f"weight decay spares {statistics.median(shares):.0%} of the matrices in a step (median)"
    found = [row.whole for row in case.later[len(case.later) // 2 :]]
    pairs = [(it["noise_trace"], it["gradient_square"]) for it in found if "noise_trace" in it]
    known = [(trace, square) for trace, square in pairs if trace is not None and square is not None]
    if known and (square := sum(square for _, square in known)) > 0:
        scale = sum(trace for trace, _ in known) / square
        yield (
            f"gradient noise scale: about {scale:,.0f} tokens over {counted(len(known), 'look')}; a step has "
            f"{case.plan.total_batch_size:,}"
        )
