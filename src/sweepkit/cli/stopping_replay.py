"""``sweepkit simulate --stopping``: rules that stop runs half way, on curves that ran to their ends."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from scipy import stats

from sweepkit.analysis import futility
from sweepkit.cli import running
from sweepkit.config import facts, typed
from sweepkit.errors import invalid
from sweepkit.printable import counted
from sweepkit.promotion.simulation import stopped_early
from sweepkit.report import drawing, numbers, terminal
from sweepkit.report.sheet import Sheet
from sweepkit.report.sheets import records
from sweepkit.results import export

#: Shares of winners that may be lost, at which rules are compared.
LOSSES = (0.02, 0.05, 0.1)
#: Of the rule that is printed.
CHANCE = 0.01


def run(sweeps: Sequence[str], draws: int, seed: int, form: str, curve: str) -> int:
    """Replay and tell.

    Args:
        curve: what is compared, as ``decision.futility.curve`` says it.

    Raises:
        ConfigError: no variant of the sweeps can be judged half way, or too few to learn from.
    """
    with Console(stderr=True).status("reading curves") as status:
        places = [running.place(name) for name in sweeps]
        if twice := [name for name, place in zip(sweeps, places, strict=True) if places.count(place) > 1]:
            contract = "name each sweep once, for its halves teach and are played on"
            raise invalid("--stopping", twice[0], contract, "leave the second out")
        rungs = [curves for name, folder in places for curves in stopped_early.read(folder / name, curve)]
        status.update(f"replaying {counted(draws, 'draw')}")
        table = stopped_early.replay(rungs, draws, seed)
    if table.empty or not table["winners"].any():
        contract = "hold ten complete variants with curves, and one that reached min_effect, to learn from"
        raise invalid("--stopping", " ".join(sweeps), contract, "name more sweeps")
    if form != "table":
        print(export.csv(table) if form == "csv" else table.to_json(orient="records"), end="")
        return running.DONE
    sheet = Sheet(("winners lost", "rule", ">setting", ">compute saved", ">lost", ">best one lost"))
    for most in LOSSES:
        found = stopped_early.at_equal_losses(table, most)
        for place, row in enumerate(records(found)):
            sheet.add(
                "" if place else f"at most {most:.0%}",
                row["rule"],
                "none" if numbers.is_missing(row["setting"]) else f"{row['setting']:g}",
                *(numbers.percent(row[name]) for name in ("saved", "lost", "best_lost")),
                new_group=not place,
            )
    if rule := stopped_early.rule_of(rungs, CHANCE, curve):
        written = ", ".join(f"{name}: {facts.spelled(value)}" for name, value in typed.dump(rule).items())
        sheet.notes.append(f"learned from all of them: decision: {{futility: {{{written}}}}}")
        sheet.notes.append(futility.reach(rule))
        sheet.notes.append(_as_printed(table))
    judged = sum(int(curves.compares_V.sum()) for curves in rungs)
    total = sum(len(curves.compares_V) for curves in rungs)
    sheet.notes.append(
        f"{counted(len(rungs), 'rung')}, {total} variants, of which futility may judge {judged}; "
        f"{counted(draws, 'draw')} of halves and seeds, {int(table['winners'].max()):,} winners in all"
    )
    if left_out := sum(curves.left_out for curves in rungs):
        sheet.notes.append(
            f"{counted(left_out, 'variant')} left out: without every seed, look or final metric"
        )
    terminal.console().print(drawing.draw(sheet))
    return running.DONE


def _as_printed(table: pd.DataFrame) -> str:
    """What a rule with the chance that is printed saved and lost, with the interval of so many winners."""
    (row,) = records(table[(table["rule"] == stopped_early.FUTILITY) & (table["setting"] == CHANCE)])
    winners, lost = int(row["winners"]), round(row["lost"] * int(row["winners"]))
    low, high = stats.binomtest(lost, winners).proportion_ci(method="wilson") if winners else (0.0, 1.0)
    return (
        f"with chance {CHANCE:g}, as printed, half of the variants taught the other half to save "
        f"{numbers.percent(row['saved'])} of the compute and lose {lost} of {counted(winners, 'winner')} "
        f"({100 * low:.1f} to {high:.1%}; fewer rungs than draws: it is wider in truth)"
    )
