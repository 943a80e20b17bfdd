"""What a report of runs that others made is made of: no plan, and verdicts after the fact."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sweepkit.errors import SweepkitError
from sweepkit.promotion import after_import, table
from sweepkit.promotion.compare import Comparison
from sweepkit.promotion.hindsight import AFTER_THE_FACT
from sweepkit.promotion.verdict_record import Final, FinalVerdict, Outcome, Promotion, RungResult
from sweepkit.report.sheet import Mark
from sweepkit.results import store
from sweepkit.results.imported import Imported
from sweepkit.sweep.decision import DecisionRule

_ENDS = {Outcome.reject: Final.rejected}


def runs_of(name: str, results: Path) -> pd.DataFrame:
    """The runs table with rungs as verdicts call them."""
    runs = store.load(name, results)
    depths = [table.ALL_DEPTHS if pd.isna(depth) else f"d{depth}" for depth in runs["depth"]]
    return runs.assign(rung=pd.Series(depths, runs.index, dtype="string"))


def rule_of(said: Imported) -> DecisionRule:
    """The rule that goes with the runs; where it lacks its smallest effect, one of none."""
    return DecisionRule.amended(["decision.min_effect=0", *said.settings()])


def come_from(said: Imported) -> list[tuple[str, str | Mark | list[str | Mark]]]:
    """Where the runs come from, and what was said of them."""
    seeds = {"shared": "shared: runs of one seed are paired", None: "not said, so nothing is paired"}
    found: list[tuple[str, str | Mark | list[str | Mark]]] = [
        ("source", [Mark(said.source, "code"), f" ({said.kind})"]),
        ("imported", said.imported_at),
        ("command", Mark(said.command, "code")),
        ("seeds", seeds.get(said.seeds, f"{said.seeds}: nothing is paired")),
    ]
    found += [("SHA-256 of the source", Mark(said.source_sha256, "code"))] if said.source_sha256 else []
    return found + ([("reference", Mark(said.reference, "code"))] if said.reference else [])


def judged(name: str, runs: pd.DataFrame, said: Imported) -> tuple[Promotion | None, str]:
    """Verdicts on the runs as a ladder has them; None, and why, where there are none."""
    if said.ledger is not None:
        return (
            None,
            f"a ledger of single runs: sweepkit verdict --runs {name} --noise SD,DF judges what was kept",
        )
    try:
        found = after_import.judged(runs, said)
    except SweepkitError as error:
        return None, f"no verdicts: {error}"
    return _as_promotion(name, found), ""


def _as_promotion(name: str, found: Comparison) -> Promotion:
    rungs = list(dict.fromkeys(verdict.rung for verdict in found.verdicts))
    depths = {row.rung: row.depth for row in found.transfer}
    finals = [
        FinalVerdict(variant, _ENDS.get(verdict.outcome, Final.inconclusive), verdict.rung, verdict.reasons)
        for variant, verdict in found.final.items()
    ]
    shown = (
        f"; better than {found.reference}, were it not for that: {', '.join(found.shown)}"
        if found.shown
        else ""
    )
    return Promotion(
        sweep=name,
        frozen_sha256="",
        decision=found.decision,
        finished=True,
        message=f"{AFTER_THE_FACT}: {after_import.WHY}{shown}",
        rungs=[
            RungResult(rung, depths.get(rung), [item for item in found.verdicts if item.rung == rung], "")
            for rung in rungs
        ],
        finals=finals,
        transfer=found.transfer,
    )
