"""Carrying out a pruning rule: is the run that is being trained hopeless?

Runs of one seed, which see the same text in the same order, are compared at equal fractions of their
schedules. Halving (asynchronous, as Li et al. 2018 do it, and as Optuna's pruner counts): of the runs that
have come as far, the best one in ``reduction`` goes on. Sigma: what finished runs gained from here to their
end predicts where this one will end; it is hopeless when that is worse than the best finished run by more
than k standard deviations of those gains. Hyperband and median are Optuna's own pruners, asked about the
curves that there are (``optuna_pruners.py``).

Files are read between steps, so a run is stopped right after the step that decided it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from sweepkit.launch.curve import Curve
from sweepkit.launch.ledger import Run
from sweepkit.plan.command_plan import own
from sweepkit.printable import counted
from sweepkit.results.record import RunState
from sweepkit.sweep.pruning_rule import HALVING, SIGMA, PruningRule

#: Gains that are all alike to the last bit still leave room for rounding.
_LEAST_SPREAD = 1e-9


class Judge:
    """Judges one run; call it after every step.

    Args:
        name: of the search.
        peers: the other runs of the search with this run's seed, as last seen.
        number_of: the trial that a run is of; None for a variant of a fixed axis.
    """

    def __init__(
        self,
        rule: PruningRule,
        name: str,
        run: Run,
        peers: Callable[[], Sequence[Run]],
        number_of: Callable[[str], int | None],
    ) -> None:
        self._rule = rule
        self._name = name
        self._run_id = run.run_id
        self._peers = peers
        self._number_of = number_of
        self._judged: list[float] = []
        self._left = rule.fractions
        self._curve = Curve(run.run_dir.metrics_path, own(run.plan).num_steps)

    def __call__(self) -> str | None:
        """Why the run is hopeless; None while it is not."""
        if not self._left:
            return None
        self._curve.read()
        while self._left and self._curve.has_reached(self._left[0]):
            frac = self._left.pop(0)
            self._judged.append(frac)
            if (reason := self._reason(frac)) is not None:
                return reason
        return None

    def _reason(self, frac: float) -> str | None:
        loss = self._curve.loss_at(frac)
        if loss is None:
            return None
        peers = self._peers()
        if self._rule.kind == HALVING:
            curves = [Curve(run.run_dir.metrics_path, own(run.plan).num_steps) for run in peers]
            losses = [other for curve in curves if (other := curve.loss_at(frac)) is not None]
            return halving(loss, losses, self._rule.reduction, frac)
        if self._rule.kind != SIGMA:
            return self._optunas_reason(loss, peers, frac)
        done = [run for run in peers if run.record is not None and run.record.state is RunState.complete]
        curves = [Curve(run.run_dir.metrics_path, own(run.plan).num_steps) for run in done]
        pairs = [(curve.loss_at(frac), curve.loss_at(1.0)) for curve in curves]
        known = [(here, end) for here, end in pairs if here is not None and end is not None]
        return sigma(loss, known, self._rule, frac)

    def _optunas_reason(self, loss: float, peers: Sequence[Run], frac: float) -> str | None:
        from sweepkit.search import optuna_pruners
        from sweepkit.search.optuna_pruners import Losses

        runs: dict[int, Losses] = {}
        for run in peers:
            number = self._number_of(run.run_id)
            curve = Curve(run.run_dir.metrics_path, own(run.plan).num_steps)
            known = [curve.loss_at(item) for item in self._judged]
            is_done = run.record is not None and run.record.state is RunState.complete
            if number is not None:
                at = tuple(item for item in known if item is not None)
                runs[number] = Losses(at, curve.loss_at(1.0) if is_done else None)
        judged = self._number_of(self._run_id)
        assert judged is not None, "variants of fixed axes are not judged"
        mine = [self._curve.loss_at(item) for item in self._judged]
        runs[judged] = Losses(tuple(item for item in mine if item is not None))
        if not optuna_pruners.stops(self._rule, self._name, judged, runs):
            return None
        there = sum(len(item.at) == len(self._judged) for item in runs.values())
        return (
            f"loss {loss:.4f} at {frac:.0%} of the schedule, which {there} runs have reached: stopped by "
            f"Optuna's {self._rule.kind} pruner"
        )


def halving(loss: float, others: Sequence[float], reduction: int, frac: float) -> str | None:
    """Why a run with that loss at ``frac`` does not go on, given the losses of the others there."""
    ranked = sorted([loss, *others])
    worst = ranked[max(0, len(ranked) // reduction - 1)]
    if loss <= worst:
        return None
    return (
        f"loss {loss:.4f} at {frac:.0%} of the schedule is not among the best 1/{reduction} of "
        f"{counted(len(ranked), 'run')} ({worst:.4f} or less)"
    )


def sigma(loss: float, finished: Sequence[tuple[float, float]], rule: PruningRule, frac: float) -> str | None:
    """Why a run with that loss at ``frac`` is hopeless, given (loss there, final loss) of finished runs."""
    if len(finished) < rule.min_runs:
        return None
    gains = [here - end for here, end in finished]
    spread = max(statistics.stdev(gains), _LEAST_SPREAD)
    predicted = loss - math.fsum(gains) / len(gains)
    best = min(end for _, end in finished)
    if predicted - rule.k * spread <= best:
        return None
    return (
        f"loss {loss:.4f} at {frac:.0%} of the schedule predicts {predicted:.4f} ± {spread:.4f} at the end, "
        f"more than {rule.k:g} standard deviations above the best finished run ({best:.4f})"
    )
