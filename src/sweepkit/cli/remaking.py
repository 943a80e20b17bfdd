"""Losses by document that complete runs lack, made from the weights that they have kept.

Evaluations from before such losses were kept have none, and a file may be damaged. The text is evaluated
again, in this process, and nothing else of it is taken: the record stays as it is, and what does not sum to
its losses (on another machine bits differ) is used by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweepkit.config.schema_core import CoreConfig
from sweepkit.errors import DamagedError
from sweepkit.launch import claims
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.results import asked
from sweepkit.results.record import RunDir, RunState


def by_document(plans: Sequence[RunPlan], results_dir: Path) -> None:
    """Make what is missing, and say of every run what became of it."""
    lacking = [plan for plan in plans if _lacks(RunDir.of(results_dir, plan.run_id), plan)]
    if not lacking:
        return
    from sweepkit.training.session import Session  # torch: only where there is something to do

    print(f"losses by document: missing of {counted(len(lacking), 'run')}, made in this process")
    session = Session()
    for number, plan in enumerate(lacking, start=1):
        run_dir, key = RunDir.of(results_dir, plan.run_id), plan.evaluation_key
        claim = claims.claim(run_dir)
        if claim is None:
            print(f"[{number}/{len(lacking)}] {plan.run_id}: left out, a running process holds it")
            continue
        with claim:
            before = run_dir.read_evaluation(key)
            try:
                made = session.evaluate(_on_text_alone(plan), run_dir)
            finally:  # whatever stops it
                if before is not None:
                    run_dir.write_evaluation(before)
                else:
                    run_dir.evaluation_path(key).unlink(missing_ok=True)
        if made.state is not RunState.complete:
            said = made.failure_message or made.state
        else:
            said = "its losses are others here" if _lacks(run_dir, plan) else "kept"
        print(f"[{number}/{len(lacking)}] {plan.run_id}: {said}")


def _on_text_alone(plan: RunPlan) -> RunPlan:
    """The same evaluation, by the same key, without the tasks of a bundle."""
    evaluation = replace(plan.config.evaluation, core=CoreConfig())
    return replace(plan, config=replace(plan.config, evaluation=evaluation))


def _lacks(run_dir: RunDir, plan: RunPlan) -> bool:
    """Whether a complete run, evaluated so, has no losses by document that can be used."""
    from sweepkit.results import document_losses  # numpy

    record = asked.read(run_dir, plan.evaluation_key)
    if record is None or record.state is not RunState.complete:
        return False
    try:
        document_losses.read(run_dir, plan.evaluation_key, record.results)
    except (FileNotFoundError, DamagedError):
        return True
    return False
