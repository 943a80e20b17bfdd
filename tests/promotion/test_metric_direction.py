"""A metric of any name, unit and direction is judged as its mirror image, a loss, would be."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from other_tables import EFFECTS, table

from sweepkit.cli.main import main
from sweepkit.errors import ConfigError
from sweepkit.promotion.compare import Comparison, compare
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.report import sheets
from sweepkit.sweep.decision import DecisionRule

HIGHER = {"metric": "accuracy", "direction": "higher", "unit": "ratio", "min_effect": 0.001}


def as_accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(accuracy=3.0 - frame["val_bpb"]).drop(columns="val_bpb")


def outcomes(found: Comparison) -> dict[tuple[str, str], Outcome]:
    return {(item.variant, item.rung): item.outcome for item in found.verdicts}


@pytest.mark.parametrize("demand", ["superior", "not_worse"])
@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("effects", [[0.0], [0.01, -0.02], [-0.03, 0.0, 0.004]])
def test_a_mirrored_metric_has_the_mirrored_verdicts(effects: list[float], seeds: int, demand: str) -> None:
    frame = table({f"v{place}": value for place, value in enumerate(effects)}, (4, 12), seeds)
    plain = {"axes": {"steps": demand}, "min_effect": 0.001}  # without a margin, as that is a ratio
    loss = compare(frame, "baseline", DecisionRule.from_json(plain))
    score = compare(as_accuracy(frame), "baseline", DecisionRule.from_json(plain | HIGHER))
    assert outcomes(loss) == outcomes(score)
    for one, other in zip(loss.verdicts, score.verdicts, strict=True):
        assert other.effect.effect == pytest.approx(-(one.effect.effect or 0.0), abs=1e-12)
        assert other.evidence.p_corrected == pytest.approx(one.evidence.p_corrected, rel=1e-6)
        assert other.effect.shrunk == pytest.approx(-(one.effect.shrunk or 0.0), rel=1e-4, abs=1e-9)
    for mine, mirrored in zip(loss.transfer, score.transfer, strict=True):
        assert (mine.retention is None) is (mirrored.retention is None)
        assert (mirrored.retention or 0.0) == pytest.approx(mine.retention or 0.0, rel=1e-4)


def test_words_and_tables_name_metric_unit_and_direction() -> None:
    found = compare(as_accuracy(table(EFFECTS)), "baseline", DecisionRule.from_json(HIGHER))
    better = found.final["better"]
    assert better.outcome is Outcome.promote
    assert better.reasons[0].startswith("accuracy +0.0")
    text = "\n".join([*better.reasons, *better.notes])
    assert "ratio a run" in text
    assert "bpb" not in text
    assert "ratio at equal steps: better?" in sheets.axes(found.verdicts, found.decision).headers


def test_nats_are_named_as_nats() -> None:
    frame = table(EFFECTS).rename(columns={"val_bpb": "final_train_loss"})
    found = compare(frame, "baseline", DecisionRule(metric="final_train_loss"))
    assert "nats/token a run" in "\n".join(found.final["better"].notes)


def test_an_unknown_metric_has_to_say_its_direction() -> None:
    with pytest.raises(ConfigError, match=r"accuracy.*direction"):
        DecisionRule(metric="accuracy")
    for given in ({"metric": "val_pbp"}, {"metric": "val_pbp", "min_effect": 0.1}):
        with pytest.raises(ConfigError, match=r"did you mean 'val_bpb'\?"):
            DecisionRule.from_json(given)
    with pytest.raises(ConfigError, match="lower"):
        DecisionRule(metric="val_bpb", direction="higher")
    with pytest.raises(ConfigError, match="same direction"):
        DecisionRule(metric="val_bpb", last_metric="score_core")
    assert DecisionRule(metric="score_core").is_higher_better


def test_infinitely_bad_is_diverged_and_infinitely_good_is_refused() -> None:
    frame = as_accuracy(table(EFFECTS))
    rule = DecisionRule.from_json(HIGHER)
    frame.loc[frame.index[-1], "accuracy"] = -math.inf
    assert compare(frame, "baseline", rule).final["worse"].evidence.divergence.diverged == 1
    frame.loc[frame.index[-1], "accuracy"] = math.inf
    with pytest.raises(ConfigError, match="accuracy"):
        compare(frame, "baseline", rule)


@pytest.mark.parametrize(
    ("column", "value"),
    [("seed", 5.5), ("seed", -1), ("train_time_s", -3.0), ("train_time_s", 0.0), ("depth", -4), ("depth", 0),
     ("median_step_time_s", -0.1), ("num_steps", -5), ("total_flops", -1.0), ("val_bpb", -3.5)],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_column(column: str, value: float) -> None:
    frame = table(EFFECTS, train_time_s=3.0, median_step_time_s=0.1, num_steps=30, total_flops=1e9)
    frame[column] = frame[column].astype(float)
    frame.loc[frame.index[3], column] = value
    with pytest.raises(ConfigError, match=f"column {column}"):
        compare(frame, "baseline")


def test_not_worse_is_not_called_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    table({"slightly_worse": 0.004}, total_flops=1e9).to_csv(path, index=False)
    asked = ["decision.axes.steps=not_worse", "decision.margins.steps=0.05"]
    assert main(["verdict", "--runs", str(path), "--reference", "baseline", *asked]) == 0
    said = capsys.readouterr().out
    assert "promote: not worse than baseline: slightly_worse" in said
    assert "better than" not in said
