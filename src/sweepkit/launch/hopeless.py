"""Stopping for futility: does the variant of the run that is being trained still have a chance?

Whoever trains a run asks by itself, at each look of the sweep's frozen rule (``sweep/futility_rule.py``): it
reads what the run, its variant's other seeds and the reference's have logged by then, and for the noise what
all other variants have whose curves compare. So it is the same on one machine and on Slurm, and nobody has to
be told. A look needs the run's own pair, of it and the reference of its seed, and one more; where the
reference has not come as far the run goes on, and the next look is at the furthest that both have reached.
Once a run of a variant is stopped the others are, before they start or at their next look. What was seen is
written down with it (``results/pruned.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepkit.config import typed
from sweepkit.launch.curve import Curve
from sweepkit.launch.job import Pruning
from sweepkit.launch.ledger import Run
from sweepkit.plan.command_plan import own
from sweepkit.results.pruned import Pruner
from sweepkit.results.record import RunDir
from sweepkit.sweep import curves_alike, frozen
from sweepkit.sweep.cell import REFERENCE, Cell
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.futility_rule import FutilityRule


@dataclass(frozen=True)
class Watch:
    """Whose rule stops runs of a launch, and which ones it may stop."""

    sweep: str
    run_ids: tuple[str, ...]


class Stopper:
    """Gives every run of a launch that may be stopped what stops it.

    Attributes:
        pruner: for whom the runs are looked at; None where nothing is stopped.
    """

    def __init__(self, watch: Watch | None, results_dir: Path) -> None:
        self._results_dir = results_dir
        self._sweep = frozen.load_frozen(results_dir, watch.sweep) if watch else None
        self._may_stop = frozenset(watch.run_ids if watch else ())
        self.pruner = Pruner.of(self._sweep) if self._sweep else None

    def pruning(self, run: Run) -> Pruning | None:
        """What may stop this run; None where nothing may."""
        if self._sweep is None or self.pruner is None or run.run_id not in self._may_stop:
            return None
        rule = self._sweep.decision.futility
        assert rule is not None
        cell = next(cell for cell in self._sweep.cells if cell.plan.run_id == run.run_id)
        judge = _Judge(cell, self._sweep, rule, self.pruner, self._results_dir)
        return Pruning(self.pruner, judge, judge.evidence)


class _Judge:
    """Judges one run; call it before the run starts and after every step.

    Attributes:
        evidence: what the verdict rests on, once there is one.
    """

    def __init__(
        self, cell: Cell, sweep: Frozen, rule: FutilityRule, pruner: Pruner, results_dir: Path
    ) -> None:
        self.evidence: dict[str, Any] = {}
        self._rule, self._column = rule, rule.column(sweep.decision.metric)
        self._min_effect = sweep.decision.min_effect
        self._pruner, self._results_dir, self._cell = pruner, results_dir, cell
        here = [item for item in sweep.cells if item.rung == cell.rung]
        alike = curves_alike.comparable(here)
        self._mine = [item for item in here if item.variant == cell.variant]
        self._compared = [item for item in here if item.role == REFERENCE or item.variant in alike]
        self._steps = own(cell.plan).num_steps
        self._is_begun = False
        self._num_passed = 0  # looks
        self._curve = Curve(self._dir(cell).metrics_path, self._steps)

    def __call__(self) -> str | None:
        """Why the run is hopeless; None while it is not."""
        if not self._is_begun:
            self._is_begun = True
            return self._because_of_others()
        passed = self._num_passed
        if passed == len(self._rule.looks):
            return None
        self._curve.read()
        self._num_passed = sum(self._curve.has_reached(look) for look in self._rule.looks)
        return (self._because_of_others() or self._found()) if self._num_passed > passed else None

    def _because_of_others(self) -> str | None:
        """Where another seed's run of the variant was stopped, what that went by."""
        for cell in self._mine:
            run_dir = self._dir(cell)
            entry = self._pruner.entry(run_dir)
            if cell is self._cell or entry is None:
                continue
            if self._pruner.has_pruned(run_dir, run_dir.read_record()):
                self.evidence |= {"decided_in": cell.plan.run_id} | (entry.get("evidence") or {})
                return str(entry.get("reason"))
        return None

    def _found(self) -> str | None:
        """By the furthest look at which this run's seed and another one are known."""
        from sweepkit.analysis import futility  # heavy, and needed at looks alone

        for place in reversed(range(self._num_passed)):
            seen = self._differences(place)
            sd = futility.typical_sd([*by_seed.values()] for by_seed in seen.values())
            mine = seen.get(self._cell.variant, {})
            found = futility.look_at(self._rule, place, mine, self._min_effect, sd)
            if found is None or str(self._cell.plan.seed) not in found.by_seed:
                continue
            if not found.is_hopeless:
                return None
            self.evidence |= typed.dump(found) | {"curve": self._column}
            return f"stopped for futility {found}"
        return None

    def _differences(self, place: int) -> dict[str, dict[int, float]]:
        """Variant → seed → its interim loss minus the reference's at a look, where both are there."""
        import pandas as pd

        from sweepkit.analysis import futility

        look = self._rule.looks[place]
        logged: dict[tuple[str, int], list[dict[int, Any]]] = {}
        for cell in self._compared:
            logged.setdefault((cell.variant, cell.plan.seed), []).append(self._reached(cell, look))
        rows = [
            (variant, seed, step, loss)
            for (variant, seed), runs in logged.items()
            if all(runs)  # of a reference that runs twice a seed, both
            for losses in runs
            for step, loss in losses.items()
        ]
        curves = pd.DataFrame(rows, columns=["variant", "seed", "step", self._column])
        seen = futility.differences(
            curves.assign(num_steps=float(self._steps)), REFERENCE, [look], self._column
        )
        found = dict[str, dict[int, float]]()
        known = seen[[look]].dropna().reset_index()
        for variant, seed, difference in known.itertuples(index=False, name=None):
            found.setdefault(variant, {})[int(seed)] = float(difference)
        return found

    def _reached(self, cell: Cell, look: float) -> dict[int, Any]:
        """Step → loss of a run that has come to a look, where all is there that it logs by then; else none.

        Of another process's run the step of a look itself may be logged and its evaluation not yet, unless
        the run has ended there.
        """
        run_dir = self._dir(cell)
        rows = run_dir.metrics()
        last, at = (
            max((row["step"] for row in rows if row.get("loss") is not None), default=0),
            look * self._steps,
        )
        is_own = cell.plan.run_id == self._cell.plan.run_id
        has_passed = last > at or (last == at and run_dir.read_record() is not None)
        if not (self._curve.has_reached(look) if is_own else has_passed):
            return {}
        return {row["step"]: row[self._column] for row in rows if row.get(self._column) is not None}

    def _dir(self, cell: Cell) -> RunDir:
        return RunDir.of(self._results_dir, cell.plan.run_id)
