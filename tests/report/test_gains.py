"""Where a gain comes from: of runs whose effects were planted on all documents, or on one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up_losses import NUM_DOCS, by_document

from sweepkit.cli.main import main
from sweepkit.config.schema import RungConfig
from sweepkit.promotion import ladder
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.report import committed, content, findings, gains, html, sheets_gains
from sweepkit.report.sheet import Mark
from sweepkit.results import document_losses, store
from sweepkit.results.record import RunDir, RunRecord, RunState
from sweepkit.sweep import expand, frozen
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

RATES = {"everywhere": 0.4, "one": 0.5, "old": 0.6}
EFFECTS = {"lr=everywhere": -0.02, "lr=one": -0.02, "lr=old": -0.02}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    results = tmp_path_factory.mktemp("results")
    sweep = SweepFile.from_json(
        {
            "name": "told",
            "axes": {"lr": {name: [f"optimizer.embedding.lr={rate}"] for name, rate in RATES.items()}},
            "seeds": [1, 2, 3, 4],
            "ladder": "mini",
            "decision": {"alpha": 0.1, "min_effect": 0.001, "num_unselected": 0},
        }
    )
    rungs = [RungConfig("d2", ["model=d2"], max_promoted=3), RungConfig("d4", ["model=d4"])]
    cells = [cell for cell in expand.expand_all(sweep) if cell.rung in ("d2", "d4")]
    made = frozen.freeze_cells(sweep, rungs, cells, results)

    def run_cells(rung: str, wanted: list[Cell]) -> None:
        for cell in wanted:
            plan, run_dir = cell.plan, RunDir.of(results, cell.plan.run_id)
            luck = random.Random(f"{plan.seed} {plan.depth}").gauss(0.0, 0.01)
            loss = 2.0 + luck + EFFECTS.get(cell.variant, 0.0) + random.Random(plan.run_id).gauss(0.0, 0.0005)
            run_dir.write_record(
                RunRecord(
                    run_id=plan.run_id,
                    evaluation_key=plan.evaluation_key,
                    variant_id=plan.variant_id,
                    seed=plan.seed,
                    state=RunState.complete,
                    step=plan.num_steps,
                    num_steps=plan.num_steps,
                    evaluation_fingerprints={"validation": "f" * 12},
                    results={"val_bpb": loss, "bpb_validation": loss, "median_step_time_s": 0.1},
                )
            )
            if cell.variant != "lr=old":
                on = 7 if cell.variant == "lr=one" else None
                document_losses.write(run_dir, plan.evaluation_key, by_document(loss, 2.0 + luck, on))

    ladder.promote(made, run_cells, lambda: store.load("told", results))
    return made


@pytest.fixture
def gathered(swept: Frozen) -> content.Content:
    return content.gather("told", swept.sweep_dir.parent)


def test_effects_over_documents(gathered: content.Content) -> None:
    table = findings.KINDS["documents"](gathered).set_index(["rung", "variant"])
    everywhere, one = table.loc[("d2", "lr=everywhere")], table.loc[("d2", "lr=one")]
    judged = {item.variant: item for item in gathered.verdicts if item.rung == "d2"}
    for row, name in ((everywhere, "lr=everywhere"), (one, "lr=one")):
        found = judged[name].effect
        assert row["effect"] == pytest.approx(found.effect, abs=1e-12) and row["n"] == 4
        assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((found.low, found.high))
    assert everywhere["text_high"] - everywhere["text_low"] < 1e-3 and pd.isna(everywhere["fewest"])
    assert one["text_low"] < 2 * one["effect"] and one["text_high"] > 0, "one document says nothing of others"
    assert (one["fewest"], one["is_few"]) == (1, True)
    assert one["fewest_bytes_frac"] == pytest.approx(1 / NUM_DOCS)


def test_what_was_not_kept_is_missing_and_never_0(gathered: content.Content) -> None:
    row = findings.KINDS["documents"](gathered).set_index(["rung", "variant"]).loc[("d2", "lr=old")]
    assert row[["n", "effect", "low", "text_low", "fewest"]].isna().all()
    assert row["note"].startswith("no losses by document were kept (4 runs): missing")
    assert not (findings.KINDS["breakdown"](gathered)["variant"] == "lr=old").any()


def test_what_is_damaged_is_named(swept: Frozen) -> None:
    cell = next(cell for cell in swept.cells if cell.label.startswith("d2") and cell.variant == "lr=one")
    path = document_losses.path(RunDir.of(swept.sweep_dir.parent, cell.plan.run_id), cell.plan.evaluation_key)
    whole = path.read_bytes()
    path.write_bytes(whole[:-60])
    try:
        table = gains.documents(content.gather("told", swept.sweep_dir.parent)).set_index(["rung", "variant"])
    finally:
        path.write_bytes(whole)
    assert table.loc[("d2", "lr=one")]["n"] == 3 and "is damaged" in table.loc[("d2", "lr=one")]["note"]


def test_parts_of_the_text_sum_to_the_effect(gathered: content.Content) -> None:
    table = findings.KINDS["breakdown"](gathered)
    mine = table[(table["rung"] == "d2") & (table["variant"] == "lr=one")]
    assert set(mine["by"]) == {"source", "length", "kind"}
    whole = findings.KINDS["documents"](gathered).set_index(["rung", "variant"])
    effect = whole.loc[("d2", "lr=one"), "effect"]
    for _, rows in mine.groupby("by"):
        assert rows["adds"].sum() == pytest.approx(effect)
    speeches = mine[mine["part"] == "speeches"].iloc[0]
    assert speeches["effect"] == pytest.approx(2 * effect, abs=2e-3), "all of it is in one half"


@pytest.mark.slow
def test_a_verdict_that_rests_on_a_few_documents_says_so_everywhere(
    swept: Frozen,
    gathered: content.Content,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = swept.sweep_dir.parent
    said = gains.leaning(gains.documents(gathered), gathered.verdicts)
    assert said and all(
        line.startswith(("d2, lr=one: rests on a few", "d4, lr=one: rests on a few")) for line in said
    )
    page = html.render(gathered)
    assert "Where a gain comes from" in page and "lr=one: rests on a few documents" in page
    assert "lr=everywhere: rests on" not in page
    folder = committed.publish("told", results, tmp_path / "published")
    assert "lr=one: rests on a few documents" in (folder / "README.md").read_text()
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("documents", "breakdown"):
        fresh = findings.KINDS[name](gathered)
        again = findings.KINDS[name](content.gather("told", folder.parent))
        pd.testing.assert_frame_equal(again, fresh, check_dtype=False)
        assert main(["results", str(folder), "--analysis", name]) == 0
        assert "lr=one" in capsys.readouterr().out
    assert gains.leaning(gains.documents(content.gather("told", folder.parent)), gathered.verdicts) == said


def test_nothing_leans_where_nothing_is_claimed(gathered: content.Content) -> None:
    """An effect about 0 loses half of itself with any document."""
    table = gains.documents(gathered).assign(is_few=True, fewest=1, fewest_bytes_frac=0.01, left=0.0)
    verdict = next(item for item in gathered.verdicts if (item.rung, item.variant) == ("d2", "lr=one"))

    def said(outcome: Outcome, low: float | None) -> bool:
        effect = replace(verdict.evidence.effect, low=low)
        made = replace(verdict, outcome=outcome, evidence=replace(verdict.evidence, effect=effect))
        return bool(gains.leaning(table, [made]))

    assert said(Outcome.promote, -0.02) and said(Outcome.adopt, -0.02) and said(Outcome.reject, 0.001)
    for outcome, low in (
        (Outcome.reject, -0.001),
        (Outcome.reject, None),
        (Outcome.inconclusive, 0.001),
        (Outcome.unselected, -0.02),
    ):
        assert not said(outcome, low)


def test_an_effect_that_seeds_do_not_tell_from_none_is_not_marked(gathered: content.Content) -> None:
    """Whatever one document does to it; one without an interval over seeds may be."""
    table = gains.documents(gathered)
    is_one = (table["rung"] == "d2") & (table["variant"] == "lr=one")
    for low, high, is_marked in (
        (-0.03, 0.01, False),
        (-0.03, -0.01, True),
        (0.01, 0.03, True),
        (None, None, True),
    ):
        table.loc[is_one, ["seeds_low", "seeds_high"]] = low, high
        shown = sheets_gains.documents(table[is_one]).rows[0][-1]
        assert isinstance(shown, Mark) and (shown.tone == "reject") is is_marked
