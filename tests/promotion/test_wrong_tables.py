"""What a table may hold that is no run, no number or no fair comparison: one line each, and no verdict."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from other_tables import table

from sweepkit.cli.main import main
from sweepkit.errors import SweepkitError
from sweepkit.promotion.compare import compare
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.sweep.decision import DecisionRule

EFFECTS = {"better": -0.02, "same": 0.0}


def judged(**columns: object) -> Outcome:
    return compare(table(EFFECTS).assign(**columns), "baseline").final["better"].outcome  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("val_bpb", 1e170), ("val_bpb", 10**400), ("val_bpb", True),
        ("val_bpb", datetime(2026, 1, 1, tzinfo=UTC)),
        ("val_bpb", "1,014"), ("seed", True), ("depth", 1e30), ("num_steps", 1000.5), ("state", "running"),
        ("state", "preempted"), ("variant", "better "),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_is_refused_by_its_column(column: str, value: object) -> None:
    frame = table(EFFECTS, num_steps=1000, state="complete").astype({column: object})
    frame.loc[frame.index[7], column] = value
    with pytest.raises(SweepkitError, match=f"column {column}"):
        compare(frame, "baseline")


@pytest.mark.parametrize("column", ["hardware", "dtype", "torch", "num_threads", "device"])
def test_environments_that_the_table_tells_are_not_mixed(column: str) -> None:
    frame = table(EFFECTS)
    one = frame["variant"] == "baseline"
    mixed = frame.assign(**{column: pd.Series("a", frame.index).mask(~one, "b")})
    if column != "dtype":  # a variant's own dtype is its change
        with pytest.raises(SweepkitError, match=column):
            compare(mixed, "baseline")
    assert (
        compare(mixed, "baseline", allow_mixed_environments=True).final["better"].outcome is Outcome.promote
    )
    within = frame.assign(**{column: [f"{place % 2}" for place in range(len(frame))]})
    with pytest.raises(SweepkitError, match=column):
        compare(within, "baseline")


def test_a_guard_that_was_not_measured_holds_back() -> None:
    rule = DecisionRule(scores={"score_core": 0.01})
    frame = table(EFFECTS).assign(score_core=0.5)
    frame["score_core"] += [0.001 * (place % 3) for place in range(len(frame))]
    assert compare(frame, "baseline", rule).final["better"].outcome is Outcome.promote
    mine = frame["variant"] == "better"
    for filled in (0, 1):
        gaps = frame.assign(score_core=frame["score_core"].mask(mine & (frame["seed"] >= filled)))
        assert compare(gaps, "baseline", rule).final["better"].outcome is Outcome.inconclusive
    with pytest.raises(SweepkitError, match=r"decision.scores.*score_core"):
        compare(frame.rename(columns={"score_core": "score_cor"}), "baseline", rule)


def test_steps_that_only_some_variants_tell_are_not_compared() -> None:
    frame = table(EFFECTS)
    steps = pd.Series(1000.0, frame.index).mask(frame["variant"] == "better")
    assert judged(num_steps=steps) in (Outcome.promote, Outcome.inconclusive)


@pytest.mark.parametrize(
    ("text", "said"),
    [("variant,seed,val_bpb,val_bpb\nref,1,2,2\n", "once"), ("variant;seed;seed\nref;1;2\n", "once")],
)
def test_columns_are_told_apart(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    assert main(["verdict", "--runs", str(path), "--reference", "ref"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "rule",
    [{"alpha": 1e-300}, {"min_effect": math.inf}, {"metric": "accuracy", "direction": "higher"}],
)
def test_rules_that_cannot_be_meant_are_refused(rule: dict[str, object]) -> None:
    with pytest.raises(SweepkitError, match="decision"):
        DecisionRule.from_json(rule)
    with pytest.raises(SweepkitError, match=r"decision\.alpha\.x"):
        DecisionRule.amended(["decision.alpha=0.1", "decision.alpha.x=0.1"])
