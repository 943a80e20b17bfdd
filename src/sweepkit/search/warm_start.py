"""A warm start: the trials of earlier searches, of the same space or of another one.

A trial of an earlier search is a point of this one where its values lie in the space and all else is as in
this search's base. What had ended there is then told, results and all, and is none of the ``n_trials``. Where
the rest differs (another depth, say), or the seeds, its losses are no losses here: they only rank, and the
best few points are tried first. Everything else is dropped, and said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepkit.search import untried
from sweepkit.search.earlier import Around
from sweepkit.search.trial_ledger import TrialLedger
from sweepkit.search.trial_outcome import TrialState
from sweepkit.sweep import frozen, points, warm_notes
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.points import Params
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.warm_notes import WarmStart

_OPEN, _REPEATED = "their runs have not ended", "another trial is the same point here"
_NOT_FIRST = "their runs there are other runs, and others were better"


@dataclass
class _Sorted:
    told: list[Params] = field(default_factory=list)
    ranked: list[tuple[float, Params]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def sort(
    sweep: Frozen,
    around: Around,
    results_dir: Path,
    is_answered: Callable[[Params], bool],
    named: Sequence[Params],
) -> tuple[list[tuple[str, Params]], tuple[WarmStart, ...]]:
    """What is told, each with the search it comes from, and what is written down of all.

    Args:
        around: configurations that a run is compared with.
        is_answered: whether the runs that a point has in this search have ended.
        named: points that this search names itself, which come first anyway.

    Raises:
        ConfigError: there is no such search.
    """
    assert sweep.search is not None
    seen = {untried.key(point) for point in named}
    told: list[tuple[str, Params]] = []
    notes: list[WarmStart] = []
    left = max(0, min(sweep.search.warm_points, sweep.search.n_trials - len(named)))
    for source in sweep.search.warm_start:
        found = _sorted(_ledger(source, sweep, results_dir), sweep.search, around, is_answered, seen)
        told += [(source, point) for point in found.told]
        best = sorted(found.ranked, key=lambda item: item[0])
        first, late = best[:left], best[left:]
        left -= len(first)
        if late:
            found.dropped[_NOT_FIRST] += len(late)
        points_first = tuple(point for _, point in first)
        notes.append(WarmStart(source, len(found.told), points_first, dict(found.dropped)))
    return told, tuple(notes)


def _sorted(
    ledger: TrialLedger,
    spec: SearchSpec,
    around: Around,
    is_answered: Callable[[Params], bool],
    seen: set[str],
) -> _Sorted:
    found = _Sorted()
    for trial in ledger.trials:
        outcome = ledger.outcomes.get(trial.number)
        if not trial.cells:
            continue
        if outcome is None or outcome.state not in (TrialState.complete, TrialState.infeasible):
            found.dropped[_OPEN if outcome is None else f"they ended as {outcome.state.value}"] += 1
            continue
        flat = trial.cells[0].plan.settings
        point = around.point(flat)
        fits = point if point is not None else _of_values(spec, trial.params, flat)
        if fits is None:
            found.dropped[_why(spec, trial.params, flat)] += 1
        elif untried.key(fits) in seen:
            found.dropped[_REPEATED] += 1
        elif point is not None and is_answered(point):
            seen.add(untried.key(point))
            found.told.append(point)
        elif outcome.state is TrialState.complete and outcome.value is not None:
            seen.add(untried.key(fits))
            found.ranked.append((outcome.value, fits))
        else:
            found.dropped["they had no loss there, and are other runs here"] += 1
    return found


def _of_values(spec: SearchSpec, params: Params, flat: dict[str, Any]) -> Params | None:
    """The point of this space with the values of a run that differs beside it; None where there is none."""
    known = {key: params.get(key, flat.get(key)) for key in spec.space}
    point = points.typed(spec, known)
    return point if points.holds(spec, known) else None


def _why(spec: SearchSpec, params: Params, flat: dict[str, Any]) -> str:
    for key, parameter in spec.space.items():
        value = params.get(key, flat.get(key))
        if not parameter.holds(value):
            return f"{key} is outside {parameter}"
    return "they lie outside the space"


def _ledger(source: str, sweep: Frozen, results_dir: Path) -> TrialLedger:
    warm_notes.check([source], sweep.name, results_dir)
    return TrialLedger(frozen.load_frozen(results_dir, source), results_dir)
