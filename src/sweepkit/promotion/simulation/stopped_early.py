"""Stopping rules replayed on curves of sweeps that ran to their ends: what each saves, and what it loses.

A *winner* is a variant whose final effect reached its sweep's min_effect. In every draw the variants of all
rungs are split at random: futility learns its boundary from one half, and all rules play on the other, with
seeds drawn again with replacement. Each rule has a dial, and rules are compared where they lose as many
winners. Halving and the median rule stop what is behind; futility (``analysis/futility.py``) leaves alone
what has another data order or schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweepkit import errors
from sweepkit.analysis import futility
from sweepkit.analysis.futility import LOOKS, Boundary
from sweepkit.printable import counted
from sweepkit.results import imported, store
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.results.record import STOPPED, RunState
from sweepkit.sweep import curves_alike, frozen
from sweepkit.sweep.futility_rule import EVALUATIONS, LOSS, FutilityRule

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]

FUTILITY, HALVING, MEDIAN = "futility", "successive halving", "median"
#: Rule → the settings of its dial, from cautious to bold.
DIALS: dict[str, tuple[float, ...]] = {
    FUTILITY: (0.0001, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),  # chance that is left
    HALVING: (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.333, 0.25),  # share that goes on at each look
    MEDIAN: (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5),  # quantile of those that came as far
}


@dataclass(frozen=True)
class Curves:
    """One rung that ran to its end.

    Attributes:
        differences_VSL: training loss minus the reference's, by variant, seed and look.
        final_VS: final effects of single seeds, lower is better.
        compares_V: whether its curve may be judged before its end.
        min_effect: improvement that makes a winner.
        left_out: how many variants lack a seed, a look or a final metric.
    """

    differences_VSL: Array
    final_VS: Array
    compares_V: Flags
    min_effect: float
    left_out: int = 0

    @property
    def mean_VL(self) -> Array:
        return np.asarray(self.differences_VSL.mean(axis=1))

    def error_V(self, place: int, is_here_V: Flags) -> Array:
        """Standard errors of the means at one look; 0 where one seed does not tell.

        Args:
            is_here_V: which variants came so far.
        """
        at_VS = self.differences_VSL[:, :, place]
        num_seeds = at_VS.shape[1]
        if num_seeds == 1:
            return np.zeros(len(at_VS))
        typical = futility.typical_sd(at_VS[is_here_V])
        return np.asarray(np.maximum(at_VS.std(axis=1, ddof=1), typical) / np.sqrt(num_seeds))

    def some(self, variants: Flags | Places) -> Curves:
        """Of some variants."""
        return replace(
            self,
            differences_VSL=self.differences_VSL[variants],
            final_VS=self.final_VS[variants],
            compares_V=self.compares_V[variants],
        )


def read(sweep_dir: Path, curve: str = LOSS) -> list[Curves]:
    """The rungs of a sweep, published or not, whose variants ran as many seeds as the reference.

    Args:
        curve: what is compared before the end, as ``FutilityRule.curve`` says it.

    Raises:
        SweepkitError: nothing of that name was frozen, or a rule stopped some of its runs already: what is
            left reached its end because it looked good half way, and teaches that half way says little.
    """
    runs = store.load(sweep_dir.name, sweep_dir.parent)  # first: it knows what sweeps there are
    if imported.find(sweep_dir) is not None:
        contract = "have a plan, which says whose curves compare; runs that others made have none"
        raise errors.invalid("--stopping", sweep_dir.name, contract, "name sweeps of sweepkit's own")
    head, cells = frozen.read(sweep_dir)
    rule = head.sweep.decision
    if stopped := sorted(set(runs.loc[runs["state"].isin(STOPPED), "variant"])):
        contract = "have run to its end: what is left of a sweep that stopped variants are survivors alone"
        had = f"{sweep_dir.name} ({counted(len(stopped), 'variant')} stopped, {stopped[0]} one of them)"
        raise errors.invalid("--stopping", had, contract, "name sweeps without decision.futility or pruning")
    curves = store.curves(sweep_dir.name, sweep_dir.parent, runs)
    column = rule.metric if curve == EVALUATIONS else LOSS
    if column not in curves:
        return []
    ends = runs.drop_duplicates("run_id").set_index("run_id")["num_steps"]
    curves = curves.assign(loss=curves[column], num_steps=curves["run_id"].map(ends))
    found = []
    for rung in dict.fromkeys(runs["rung"]):
        here = runs[(runs["rung"] == rung) & (runs["state"] == RunState.complete)]
        if rule.metric not in here or not (here["variant"] == REFERENCE).any():
            continue
        finals = here.pivot_table(index="variant", columns="seed", values=rule.metric).astype(float)
        alike = curves_alike.comparable(cell for cell in cells if cell.rung == rung)
        compares = {name: name in alike for name in finals.index if not is_reference(name)}
        logged = curves[curves["rung"] == rung]
        made = arranged(logged, rule.sign * finals, compares, rule.min_effect)
        found += [made] if made else []
    return found


def arranged(
    curves: pd.DataFrame, finals: pd.DataFrame, compares: Mapping[str, bool], min_effect: float
) -> Curves | None:
    """The variants of one rung that have every seed and look; None where there are none.

    Args:
        curves: variant, seed, step, loss; num_steps where the last step is not there.
        finals: final metric, a row a variant and a column a seed; lower is better.
        compares: variant → whether its curve may be judged before its end.
    """
    seen = futility.differences(curves, REFERENCE)
    effects = finals.sub(finals.loc[REFERENCE])
    seeds = list(finals.columns)
    kept = []
    for name in compares:
        at = seen.reindex([(name, seed) for seed in seeds]).to_numpy(dtype=float)
        final = effects.loc[name].to_numpy(dtype=float)
        if np.isfinite(at).all() and np.isfinite(final).all():
            kept.append((at, final, compares[name]))
    if not kept:
        return None
    at, final, may = zip(*kept, strict=True)
    left_out = len(compares) - len(kept)
    return Curves(np.asarray(at), np.asarray(final), np.asarray(may, dtype=bool), min_effect, left_out)


def replay(rungs: Sequence[Curves], draws: int, seed: int) -> pd.DataFrame:
    """What each rule saves and loses at every setting of its dial.

    Returns:
        A row a rule and setting: saved (share of the variants' compute), lost (share of winners that it
        stopped), best_lost (share of rungs with a winner whose best one it stopped), winners, draws.
    """
    rng = np.random.default_rng(seed)
    tally: dict[tuple[str, float], list[tuple[float, int, int, bool, bool]]] = {
        (name, setting): [] for name, settings in DIALS.items() for setting in settings
    }
    for learn, play in _draws(rungs, rng, draws):
        fixed = learned(learn)
        for curves in play if fixed else ():
            assert fixed is not None
            effect_V = curves.final_VS.mean(axis=1)
            is_winner_V = effect_V <= -curves.min_effect
            best = int(np.argmin(effect_V))
            for (name, setting), seen in tally.items():
                ran_V = RULES[name](curves, setting, fixed)
                is_lost_V = is_winner_V & (ran_V < 1.0)
                seen.append(
                    (
                        float(1.0 - ran_V.mean()),
                        int(is_lost_V.sum()),
                        int(is_winner_V.sum()),
                        bool(is_lost_V[best]),
                        bool(is_winner_V[best]),
                    )
                )
    rows = []
    for (name, setting), seen in tally.items():
        if not seen:
            continue
        saved, lost, winners, best_lost, has_best = map(np.asarray, zip(*seen, strict=True))
        rows.append(
            {
                "rule": name,
                "setting": setting,
                "saved": float(saved.mean()),
                "lost": float(lost.sum() / max(1, winners.sum())),
                "best_lost": float(best_lost.sum() / max(1, has_best.sum())),
                "winners": int(winners.sum()),
                "draws": draws,
            }
        )
    columns = ["rule", "setting", "saved", "lost", "best_lost", "winners", "draws"]
    return pd.DataFrame(rows, columns=columns)


def at_equal_losses(table: pd.DataFrame, lost: float) -> pd.DataFrame:
    """The setting of every rule that saves most and loses at most that share of winners; a row a rule.

    A rule that loses more at every setting of its dial saves nothing.
    """
    rows = []
    for name, settings in table.groupby("rule", sort=False):
        fine = settings[settings["lost"] <= lost]
        none = {"rule": name, "setting": None, "saved": 0.0, "lost": 0.0, "best_lost": 0.0}
        rows.append(none if fine.empty else fine.iloc[int(fine["saved"].argmax())].to_dict())
    return pd.DataFrame(rows)


def learned(rungs: Sequence[Curves]) -> Boundary | None:
    """The boundary that variants which ran to their ends teach; None of too few."""
    judged = [curves.some(curves.compares_V) for curves in rungs if curves.compares_V.any()]
    if not judged:
        return None
    return Boundary.learned(
        np.concatenate([curves.mean_VL for curves in judged]),
        np.concatenate([curves.final_VS.mean(axis=1) for curves in judged]),
    )


def rule_of(rungs: Sequence[Curves], chance: float, curve: str) -> FutilityRule | None:
    """The rule that variants which ran to their ends teach, to three digits; None of too few.

    Args:
        chance, curve: the rule's own.
    """
    found = learned(rungs)
    if found is None:
        return None
    slopes, floors, shares = (
        tuple(float(f"{value:.3g}") for value in values)
        for values in (found.slopes, found.floors, found.shares)
    )
    return FutilityRule(LOOKS, slopes, floors, shares, chance, "loss" if curve == LOSS else "evaluations")


def _draws(
    rungs: Sequence[Curves], rng: np.random.Generator, draws: int
) -> Iterator[tuple[list[Curves], list[Curves]]]:
    """Halves of the variants of every rung: to learn from, and to play with on seeds drawn again."""
    for _ in range(draws):
        learn, play = [], []
        for curves in rungs:
            order = rng.permutation(len(curves.compares_V))
            half = len(order) // 2
            learn.append(curves.some(order[:half]))
            mine = curves.some(order[half:])
            seeds = rng.integers(0, mine.final_VS.shape[1], mine.final_VS.shape[1])
            mine = replace(
                mine, differences_VSL=mine.differences_VSL[:, seeds], final_VS=mine.final_VS[:, seeds]
            )
            play.append(mine)
        yield learn, play


def _futility(curves: Curves, setting: float, fixed: Boundary) -> Array:
    mean_VL = curves.mean_VL
    ran_V = np.ones(len(mean_VL))
    for place, look in enumerate(LOOKS):
        error_V = curves.error_V(place, curves.compares_V & (ran_V == 1.0))
        left_V = fixed.chance_left(place, mean_VL[:, place], error_V, curves.min_effect)
        ran_V[(ran_V == 1.0) & curves.compares_V & (left_V < setting)] = look
    return ran_V


def _halving(curves: Curves, setting: float, _: Boundary) -> Array:
    mean_VL = curves.mean_VL
    ran_V = np.ones(len(mean_VL))
    for place, look in enumerate(LOOKS):
        alive = np.flatnonzero(ran_V == 1.0)
        ranked = alive[np.argsort(mean_VL[alive, place], kind="stable")]
        ran_V[ranked[int(np.ceil(setting * len(alive))) :]] = look
    return ran_V


def _median(curves: Curves, setting: float, _: Boundary) -> Array:
    mean_VL = curves.mean_VL
    ran_V = np.ones(len(mean_VL))
    for place, look in enumerate(LOOKS):
        alive_V = ran_V == 1.0
        bar = np.quantile(mean_VL[alive_V, place], setting)
        ran_V[alive_V & (mean_VL[:, place] > bar)] = look
    return ran_V


#: Rule → the share of its schedule that each variant runs; float64 [V].
RULES: dict[str, Callable[[Curves, float, Boundary], Array]] = {
    FUTILITY: _futility,
    HALVING: _halving,
    MEDIAN: _median,
}
