"""How long runs take, from those that are done: for what is left, and for what has been spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median

from sweepkit.launch.ledger import Run
from sweepkit.plan.run_spec import RunSpec
from sweepkit.results.record import RunState

#: Parts of a run during which it holds its device, as the record measured them.
_SPENT = ("train_time_s", "compile_time_s", "eval_time_s", "checkpoint_time_s")


_Taken = tuple[float, float]  # seconds per FLOP of its steps, and seconds beside them


class Pace:
    """How long runs take: the median time per FLOP of those done in one go, else of those going on.

    Compiling is apart, for only the first run of a compiled shape waits for it. So is what a run takes beside
    its steps (its process, text, evaluation), where it has measured them: a short one has as much of it.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        done = [run for run in runs if run.record is not None and run.record.state is RunState.complete]
        self._compiled = {run.plan.compile_key for run in done}
        self.longest_compile_s = max((_compiling(run) for run in done), default=0.0)
        self._all: list[_Taken] = []
        self._of_depth: dict[int | None, list[_Taken]] = {}
        known = [(run, seconds) for run in runs if (seconds := _seconds_taken(run))]
        known = known or [(run, seconds) for run in runs if (seconds := _seconds_expected(run))]
        for run, seconds in known:
            besides = _beside_steps(run, seconds)
            taken = ((seconds - besides) / work(run.plan), besides)
            self._all.append(taken)
            self._of_depth.setdefault(run.plan.depth, []).append(taken)

    @property
    def is_known(self) -> bool:
        """Whether there is a run to judge by."""
        return bool(self._all)

    def compile_seconds(self, plans: Iterable[RunSpec]) -> float:
        """For shapes of these runs that none of those done has compiled, each like the longest."""
        return self.longest_compile_s * len(self.shapes_to_compile(plans))

    def shapes_to_compile(self, plans: Iterable[RunSpec]) -> set[str]:
        """Compile keys of these runs that no run that is done has."""
        return {plan.compile_key for plan in plans} - self._compiled

    def seconds_left(self, plan: RunSpec, step: int) -> float | None:
        """For a run at ``step``; None while no run is done to judge by."""
        known = self._of_depth.get(plan.depth) or self._all
        if not known:
            return None
        each, besides = (median(item[part] for item in known) for part in (0, 1))
        return besides + each * work(plan) * (1 - frac_done(plan.num_steps, step))


def work(plan: RunSpec) -> float:
    """FLOPs of a run; where they are not known every run counts as one."""
    return plan.total_flops or 1.0


def frac_done(num_steps: int | None, step: int) -> float:
    """How much of a run is done at a step; 0 where it is not known how many there are."""
    return min(1.0, step / num_steps) if num_steps else 0.0


def _seconds_taken(run: Run) -> float | None:
    record = run.record
    if record is None or record.state is not RunState.complete or record.attempt != 1:
        return None
    taken = seconds_since(record.started_at, _moment(record.ended_at))
    return None if taken is None else max(0.0, taken - _compiling(run))


def _beside_steps(run: Run, seconds: float) -> float:
    """Of the seconds that a run took, those that are not of its steps; 0 where it did not tell these."""
    steps_s = run.record.results.get("train_time_s") if run.record is not None else None
    return max(0.0, seconds - float(steps_s)) if steps_s else 0.0


def _compiling(run: Run) -> float:
    """Seconds that a run took to compile; 0 where it did not say."""
    return float(run.record.results.get("compile_time_s") or 0.0) if run.record is not None else 0.0


def _seconds_expected(run: Run) -> float | None:
    """Of a run going on, by its own estimate, from its first step to its last."""
    progress = run.progress()
    num_steps = run.plan.num_steps or progress.num_steps
    if num_steps is None or not progress.eta_s:
        return None
    left = num_steps - (progress.step or 0)
    return progress.eta_s / left * num_steps if left > 0 else None


def _moment(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def seconds_spent(run: Run) -> float:
    """Device seconds that a run has measured so far; queueing and lost work are not in it."""
    results = run.record.results if run.record is not None else {}
    return float(sum(results.get(name) or 0.0 for name in _SPENT))


def seconds_since(moment: str | None, now: float) -> float | None:
    """Between an ISO 8601 moment and ``now`` (seconds since the epoch); None where it is no moment."""
    try:
        return max(0.0, now - datetime.fromisoformat(moment).timestamp()) if moment else None
    except ValueError:
        return None
