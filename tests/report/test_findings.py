"""A ladder with horizons, pairs and a cliff: what the page and ``results --analysis`` say of it."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_losses import by_document

from sweepkit.cli.main import main
from sweepkit.config.measured import MeasuredOn
from sweepkit.config.schema import RungConfig
from sweepkit.promotion import ladder
from sweepkit.report import content, findings, html, sections, sheets_findings
from sweepkit.results import core_outcomes, document_losses, store
from sweepkit.results.conditions import Environment
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep import expand, frozen
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

pytestmark = pytest.mark.xdist_group("found")

AXES = {
    "optimizer.x0.beta1": [0.9, 0.97, 0.98],
    "route": {"taken": ["optimizer.embedding.lr=0.4"]},
}
BETA = {"0.9": -0.02, "0.97": -0.01, "0.98": 0.2}
#: Variants that differ from the reference on one document alone.
ON = {"route=taken": 7}


def true_loss(cell: Cell) -> float:
    """Both routes help alone and undo each other together; beta 0.98 is a cliff."""
    beta, route = cell.levels.get("optimizer.x0.beta1"), "route" in cell.levels
    effect = BETA.get(beta or "", 0.0) + (-0.02 if route else 0.0)
    if beta == "0.9" and route:
        effect += 0.03
    horizon = {"reference@0.5x": 0.5, "reference@2x": 2.0}.get(cell.variant, 1.0)
    return (2.5 - 0.1 * cell.plan.depth + effect) * float(horizon**-0.06)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """The ladder, frozen for real from a sweep file, with made-up records, and promoted."""
    results = tmp_path_factory.mktemp("results")
    sweep = SweepFile.from_json(
        {
            "name": "found",
            "axes": AXES,
            "combine": 2,
            "seeds": [1, 2, 3],
            "ladder": "mini",
            "reference_horizons": [0.5, 2],
            "decision": {"alpha": 0.1, "min_effect": 0.001, "num_unselected": 2},
        }
    )
    rungs = [RungConfig("d2", ["model=d2"], max_promoted=3), RungConfig("d4", ["model=d4"])]
    cells = [cell for cell in expand.expand_all(sweep) if cell.rung in ("d2", "d4")]
    made = frozen.freeze_cells(sweep, rungs, cells, results)

    def run_cells(rung: str, wanted: list[Cell]) -> None:
        for cell in wanted:
            run_dir = RunDir.of(results, cell.plan.run_id)
            run_dir.write_record(record(cell))
            core_outcomes.write(run_dir, cell.plan.evaluation_key, asked(cell))
            losses = by_document(record(cell).results["val_bpb"] or 0.0, 2.0, ON.get(cell.variant))
            document_losses.write(run_dir, cell.plan.evaluation_key, losses)

    ladder.promote(made, run_cells, lambda: store.load("found", results))
    return made


def record(cell: Cell) -> RunRecord:
    plan = cell.plan
    luck = random.Random(f"{plan.seed} {plan.depth}").gauss(0.0, 0.01)
    loss = true_loss(cell) + luck + random.Random(plan.run_id).gauss(0.0, 0.0005)
    return RunRecord(
        run_id=plan.run_id,
        evaluation_key=plan.evaluation_key,
        variant_id=plan.variant_id,
        seed=plan.seed,
        state=RunState.complete,
        step=plan.num_steps,
        num_steps=plan.num_steps,
        environment=Environment(hardware="a processor"),
        environment_fingerprint="e" * 12,
        evaluation_fingerprints={"validation": "f" * 12, "probe": "9" * 12},
        measured_on={"validation": MeasuredOn("3fa9", [0, 9], "rows of T", 8, "each byte")},
        results={
            **{"val_bpb": loss, "bpb_validation": loss, "bpb_probe": 1.1 * loss, "median_step_time_s": 0.1},
            **core_outcomes.scores(list(asked(cell).models[""].tasks.values()), is_whole=False),
        },
    )


def asked(cell: Cell) -> core_outcomes.Outcomes:
    """A task of 20 items; the route gets the first four right, which the reference does not."""
    right = "1111" if "route" in cell.levels else "0000"
    task = core_outcomes.TaskOutcome("words", "language_modeling", 0.0, right + "10" * 8)
    return core_outcomes.Outcomes(False, "b", {"": core_outcomes.ModelOutcome("m", {"words": task})})


@pytest.fixture
def gathered(swept: Frozen) -> content.Content:
    return content.gather("found", swept.sweep_dir.parent)


@pytest.mark.slow
def test_horizons_are_run_on_every_rung_and_never_judged(gathered: content.Content) -> None:
    assert gathered.promotion is not None
    judged = {verdict.variant for verdict in gathered.verdicts}
    assert not any("@" in name for name in judged)
    done = gathered.runs[gathered.runs["state"] == "complete"]
    for rung in ("d2", "d4"):
        assert {"reference", "reference@0.5x", "reference@2x"} <= set(
            done.loc[done["rung"] == rung, "variant"]
        )
    matched = gathered.promotion.rungs[0].verdicts[0].evidence.axes["steps"].matched
    assert matched.speedup > 1


def test_at_equal_cost(gathered: content.Content) -> None:
    table = findings.at_equal_cost(gathered).set_index(["rung", "variant", "axis"])
    row = table.loc[("d2", "route=taken", "steps")]
    # loss falls by 0.02 of 2.3 at an exponent of 0.06
    assert row["speedup"] == pytest.approx((2.3 / 2.28) ** (1 / 0.06), rel=0.02)
    assert row["effect"] == pytest.approx(-0.02, abs=0.002)
    assert row["low"] < row["effect"] < row["high"] < 0


@pytest.mark.slow
def test_conflicts_and_cliffs_are_found(gathered: content.Content) -> None:
    table = findings.combined(gathered)
    at_d2 = table[table["rung"] == "d2"].set_index("term")
    name = "optimizer.x0.beta1=0.9 × route=taken"
    assert list(at_d2.index[at_d2["is_conflict"]]) == [name]
    assert at_d2.loc[name, "effect"] == pytest.approx(0.03, abs=0.003)
    cliffs = findings.cliffs(gathered)
    assert ("d2", "0.97", "0.98") in set(
        cliffs[["rung", "edge", "beyond"]].itertuples(index=False, name=None)
    )


def test_retention_uses_winners_and_drawn_ones(gathered: content.Content) -> None:
    (row,) = findings.retained(gathered).to_dict("records")
    assert (row["lower"], row["upper"], row["n"]) == ("d2", "d4", 5)
    assert row["slope"] == pytest.approx(1.0, abs=0.2)


def test_without_two_decided_rungs_the_reason_is_said(gathered: content.Content) -> None:
    assert gathered.promotion is not None and gathered.frozen is not None
    first = dataclasses.replace(gathered.promotion, rungs=gathered.promotion.rungs[:1])
    alone = dataclasses.replace(gathered.frozen, rungs=gathered.frozen.rungs[:1])
    for told, why in (
        (dataclasses.replace(gathered, promotion=None), "no rung is decided"),
        (dataclasses.replace(gathered, promotion=first), "only d2 is decided"),
        (dataclasses.replace(gathered, promotion=first, frozen=alone), "the sweep has one rung"),
    ):
        (row,) = findings.retained(told).to_dict("records")
        assert row["sentence"].startswith(why)
        sheet = sheets_findings.SHEETS["retention"](findings.retained(told))
        assert not sheet.rows and sheet.notes == [row["sentence"]]
        assert "Over all variants" not in [
            block.value for block in sections.transfer(told) if block.kind == "title"
        ]


@pytest.mark.slow
def test_every_text_is_reported(gathered: content.Content) -> None:
    table = findings.on_probes(gathered)
    assert set(table["metric"]) == {"bpb_validation", "bpb_probe"}
    probe = table[
        (table["metric"] == "bpb_probe") & (table["variant"] == "route=taken") & (table["rung"] == "d2")
    ]
    assert float(probe["effect"].iloc[0]) == pytest.approx(-0.022, abs=0.002)


def test_tasks_are_compared_item_by_item(gathered: content.Content) -> None:
    table = findings.tasks(gathered).set_index(["rung", "variant"])
    row = table.loc[("d2", "route=taken")]
    assert (row["won"], row["lost"], row["items"], row["n"]) == (4, 0, 20, 3)
    assert row["difference"] == pytest.approx(0.2) and row["se_seeds"] == pytest.approx(0, abs=1e-9)
    assert pd.isna(table.loc[("d2", "reference")]["difference"])


@pytest.mark.slow
def test_the_page_shows_all_of_it(gathered: content.Content) -> None:
    page = html.render(gathered)
    for part in (
        "At equal cost",
        "Combinations",
        "Evaluation texts",
        "Tasks",
        "Over all variants",
        "Cliffs",
        "conflict: ",
    ):
        assert part in page
    assert page.count("<svg") == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(findings.KINDS))
def test_the_command_prints_and_exports(
    kind: str, swept: Frozen, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(swept.sweep_dir.parent))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["results", "found", "--analysis", kind]) == 0
    assert b"d2" in capsysbinary.readouterr().out
    assert main(["results", "found", "--analysis", kind, "--format", "csv"]) == 0
    table = pd.read_csv(io.BytesIO(capsysbinary.readouterr().out))
    assert len(table) > 0
    assert main(["results", "found", "--analysis", kind, "--format", "json"]) == 0
    assert len(json.loads(capsysbinary.readouterr().out)) == len(table)


@pytest.mark.slow
def test_a_replay_shows_what_another_rule_would_have_changed(
    swept: Frozen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = swept.sweep_dir.parent
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    assert main(["promote", "found", "--replay"]) == 0
    assert "nothing would have been decided differently" in capsys.readouterr().out
    assert main(["promote", "found", "--replay", "decision.min_effect=0.5"]) == 0
    shown = capsys.readouterr().out
    assert ("route=taken" in shown and "inconclusive" in shown) or "reject" in shown
    assert "decisions would have been different" in shown
    assert main(["promote", "found", "--replay", "model.depth=4"]) == 2
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


def test_a_sweep_without_a_promotion_has_no_horizon_among_its_effects(gathered: content.Content) -> None:
    (gathered.sweep_dir / "promotion.json").rename(gathered.sweep_dir / "aside")
    try:
        told = content.gather("found", gathered.sweep_dir.parent).transfer
    finally:
        (gathered.sweep_dir / "aside").rename(gathered.sweep_dir / "promotion.json")
    judged = {(verdict.variant, verdict.rung): verdict.followed for verdict in gathered.verdicts}
    assert {(row.variant, row.rung) for row in told} == judged.keys()
    for row in told:
        assert row.effect == judged[row.variant, row.rung].effect


def test_cliffs_are_the_same_before_and_after_promote(swept: Frozen, tmp_path: Path) -> None:
    """They follow from the runs; a sweep that was only run, and not yet promoted, has them too."""
    results = tmp_path / "copy"
    shutil.copytree(swept.sweep_dir.parent, results)
    after = findings.cliffs(content.gather("found", results))
    for name in ("promotion.json", "verdicts.json"):
        (results / "found" / name).unlink()
    before = findings.cliffs(content.gather("found", results))
    assert len(after) > 0
    pd.testing.assert_frame_equal(before, after)
