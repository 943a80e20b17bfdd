"""The sweeps that come with sweepkit: they expand, and the demo is what its page promises."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sweepkit.config import paths
from sweepkit.sweep import expand, file, horizons

PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "tune_mini"
#: All but the one of code, whose trees plan for themselves (tests/integration/test_ideas.py).
SHIPPED = sorted(path.stem for path in paths.sweeps_dir().glob("*.yaml") if path.stem != "ideas")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_sweep_expands(name: str) -> None:
    sweep = file.load(name)
    cells = expand.expand_all(sweep)
    ladder = expand.ladder_of(sweep)
    num_rungs = len(expand.rungs_of(ladder))
    labels = len(expand.variants(sweep)) + len(horizons.wanted(sweep, ladder))
    assert len(cells) == num_rungs * len(sweep.seeds) * labels


def test_the_demo_compiles_once_a_rung() -> None:
    cells = expand.expand_all(file.load("demo"))
    keys = {(cell.rung, cell.plan.compile_key) for cell in cells}
    assert len(keys) == len({cell.rung for cell in cells}) == 3


def test_the_demo_has_what_it_promises() -> None:
    sweep = file.load("demo")
    variants = expand.variants(sweep)
    assert len(variants) >= 5, "a baseline and four variants"
    assert len(sweep.seeds) >= 3
    assert sweep.decision.alpha == 0.1
    assert sweep.ladder == "demo"
    rungs = expand.rungs_of(expand.ladder_of(sweep))
    assert [rung.max_promoted for rung in rungs[:-1]] == [2, 2], (
        "one climber's seeds are too few to measure noise by"
    )
    known_to_hurt = [["optimizer.unembedding.lr=0.0008"]]  # a tenth of the reference's
    assert [list(v.overrides) for v in variants if v.label == "change=unembedding_0.1x"] == known_to_hurt


def test_a_dataset_swap_pins_tokenizer_and_probe() -> None:
    sweep = file.load("datasets")
    cells = [cell for cell in expand.expand_all(sweep) if cell.rung == "d2"]
    assert len({cell.plan.config.dataset.name for cell in cells}) == 4
    assert {cell.plan.config.tokenizer.corpus.name for cell in cells} == {"embedded"}
    assert sweep.decision.metric == "bpb_probe"
    assert all("probe" in cell.plan.config.evaluation.streams for cell in cells)


def test_x0_beta1_is_the_published_sweep(tmp_path: Path) -> None:
    cells = expand.expand_all(file.load("x0_beta1"))
    betas = {cell.plan.config.optimizer.x0.beta1 for cell in cells}
    assert betas == {0.80, 0.90, 0.94, 0.96, 0.97, 0.98}
    assert {cell.plan.depth for cell in cells} == {12, 20, 24}


def test_minis_published_table_is_of_its_constants_and_nothing_in_it_is_better() -> None:
    """Every variant of the sweep that tuned them, with every seed; the reference as mini is now."""
    sweep = file.load("tune_mini")
    cells = expand.expand_all(sweep)
    table = pd.read_csv(PUBLISHED / "runs.csv.gz")
    assert set(table["state"]) == {"complete"}
    found = set(zip(table["variant"], table["seed"], strict=True))
    assert found == {(cell.variant, cell.plan.seed) for cell in cells}
    rates = {name.removeprefix("learning_rates_"): name for name in table if "learning_rates_" in name}
    by_variant = table.groupby("variant")
    for cell in cells:
        row = by_variant.get_group(cell.variant).iloc[0]
        assert (row["num_steps"], row["total_batch_size"]) == (
            cell.plan.num_steps,
            cell.plan.total_batch_size,
        )
        assert {group: row[name] for group, name in rates.items()} == pytest.approx(cell.plan.learning_rates)
    assert {cell.plan.config.precision.dtype.name for cell in cells} == {"fp32"}
    loss = by_variant["val_bpb"].mean()
    same_batch = [name for name in loss.index if not name.startswith("batch=")]
    assert loss[same_batch].min() > loss["reference"] - sweep.decision.min_effect
    verdicts = json.loads((PUBLISHED / "verdicts.json").read_text())["verdicts"]
    assert {item["variant"] for item in verdicts} == set(loss.index) - {"reference"}
    assert not {item["outcome"] for item in verdicts} & {"adopt", "promote"}
