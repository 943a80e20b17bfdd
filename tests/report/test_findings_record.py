"""The published record: claims name what can be run, and what came out is worded as was written down."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import from_scripts
from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.promotion.compare import compare
from sweepkit.promotion.verdict_record import Final, FinalVerdict, Promotion, RungResult
from sweepkit.sweep import expand, file
from sweepkit.sweep.decision import DecisionRule

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    from_scripts.script("finding_scores")  # which it imports
    return from_scripts.script("findings")


def test_the_page_is_what_the_record_and_the_committed_tables_give(script: ModuleType) -> None:
    text = script.PAGE.read_text()
    assert text == script.page(script.load(), script.COMMITTED), "run: python scripts/findings.py"
    assert [line for line in text.splitlines() if line.startswith("## ")][:14] == [
        f"## {number}. {heading.title}" for number, heading in enumerate(script.load().headings, start=1)
    ]


def test_every_claim_is_of_a_variant_on_a_rung_of_its_sweep_and_a_published_experiment(
    script: ModuleType,
) -> None:
    record = script.load()
    assert len(record.headings) == 14 and len(record.sweeps) >= 4
    known = set(pd.read_csv(script.EXPERIMENTS)["experiment"])
    for claim in record.claims:
        sweep = file.load(script.file_of(claim.sweep))
        assert claim.variant in [variant.label for variant in expand.variants(sweep)]
        assert claim.rung in [rung.name for rung in expand.rungs_of(expand.ladder_of(sweep))]
        assert claim.experiment in known | {""}, claim
    for heading in record.headings:
        assert heading.claims or heading.clock or heading.elsewhere


def publish(
    folder: Path, effects: dict[str, float], min_effect: float, sweep: str, direction: str = "lower"
) -> None:
    """A decided sweep of made-up runs: noise of 0.001, five seeds; ``effects`` as of a loss."""
    metric, sign = ("val_bpb", 1) if direction == "lower" else ("accuracy", -1)
    rng = np.random.default_rng(3)
    rows = [
        {"variant": variant, "rung": "single", "depth": 2, "seed": seed, "pair_key": f"k{seed}",
         "state": "complete", metric: 2.5 + sign * effect + 0.001 * rng.standard_normal(),
         "train_time_s": 10.0, "total_flops": 1e9, "num_steps": 100, "step": 100}
        for seed in range(5)
        for variant, effect in {"reference": 0.0, **effects}.items()
    ]  # fmt: skip
    rule = DecisionRule(metric=metric, direction=direction, min_effect=min_effect)
    rule = dataclasses.replace(rule, num_unselected=0)
    found = compare(pd.DataFrame(rows), "reference", rule)
    finals = [FinalVerdict(item.variant, Final.inconclusive, "single", []) for item in found.verdicts]
    promotion = Promotion(
        sweep, "", rule, True, "", [RungResult("single", 2, found.verdicts, "", 0)], finals, []
    )
    fsio.write_json(folder / sweep / "promotion.json", typed.dump(promotion))


@pytest.mark.parametrize(
    ("effect", "published", "word"),
    [
        (-0.05, "better", "agrees"), (0.05, "worse", "agrees"), (0.05, "better", "differs"),
        (-0.05, "worse", "differs"), (0.0, "better", "no gain"), (0.0, "none", "agrees"),
        (-0.05, "none", "differs"), (0.002, "none", "agrees"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_what_came_out_is_worded_as_was_written_down(
    script: ModuleType, tmp_path: Path, effect: float, published: str, word: str, direction: str
) -> None:
    claims = [script.Claim("made_up", "v=a", published, "a change")]
    record = script.Record(0.05, [script.Heading("One", "Published.", claims)])
    assert [item.word for item in script.findings(record, tmp_path)] == ["not run yet"]
    publish(tmp_path, {"v=a": effect, "v=b": 0.03, "v=c": 0.03}, 0.01, "made_up", direction)
    (found,) = script.findings(record, tmp_path)
    assert found.word == word
    assert effect == 0.0 or (found.effect < 0) is ((effect < 0) is (direction == "lower"))
    assert found.low < found.effect < found.high
    assert word in script.page(record, tmp_path)


def test_holm_is_over_all_claims_that_were_measured(script: ModuleType, tmp_path: Path) -> None:
    publish(tmp_path, {"v=a": -0.002, "v=b": -0.0015, "v=c": 0.03}, 0.0001, "made_up")
    claims = [script.Claim("made_up", f"v={name}", "better", name) for name in "abc"]
    claims.append(script.Claim("another", "v=a", "better", "not run"))
    found = script.findings(script.Record(0.05, [script.Heading("One", "Published.", claims)]), tmp_path)
    promotion = typed.load(Promotion, fsio.read_json(tmp_path / "made_up" / "promotion.json"))
    effects = [item.effect for item in promotion.rungs[0].verdicts]
    raw = [
        2 * stats.t.sf(abs(e.effect) / e.standard_error, e.df)
        for e in effects
        if e.effect and e.standard_error
    ]
    order = np.argsort(raw)
    wanted = np.minimum(1.0, np.maximum.accumulate(np.asarray(raw)[order] * [3, 2, 1]))
    assert [found[place].p for place in order] == pytest.approx(list(wanted))
    assert found[3].word == "not run yet" and found[3].p is None


def test_the_figures_in_the_readme_are_those_of_the_page(script: ModuleType) -> None:
    record = script.load()
    found = {item.claim.says: item for item in script.findings(record, script.COMMITTED)}
    text = (ROOT / "README.md").read_text().partition("What came out of it here")[2].partition("## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert len(rows) >= 2 + 5
    for says, _, figures, word in rows[2:]:
        item = next(item for claim, item in found.items() if says.startswith(claim))
        assert item.word.startswith(word)
        shown = re.findall(r"[+−]\d\.\d+", figures)
        for number, value in zip(shown, (item.effect, item.low, item.high), strict=True):
            digits = len(number.partition(".")[2])
            assert number == f"{value:+.{digits}f}".replace("-", "−"), (says, number, value)


def test_an_interval_of_a_score_is_over_seeds_and_items(script: ModuleType) -> None:
    """Of either alone it is the textbook's; the table's scores are the means of the committed runs."""
    scores = from_scripts.script("finding_scores")
    rng = np.random.default_rng(5)
    runs = pd.DataFrame({"core_x": rng.normal(0.3, 0.05, 6), "core_se_x": 0.0})
    alone = stats.t.interval(0.95, 5, runs["core_x"].mean(), stats.sem(runs["core_x"]))
    assert scores.interval(runs, "core_x", 80, 0.05)[1:] == pytest.approx(alone)
    same = pd.DataFrame({"core_x": [0.3, 0.3], "core_se_x": 0.04})
    assert scores.interval(same, "core_x", 80, 0.05)[1:] == pytest.approx(
        stats.t.interval(0.95, 79, 0.3, 0.04)
    )
    both = scores.interval(runs.assign(core_se_x=0.04), "core_x", 80, 0.05)
    assert both[0] == pytest.approx(runs["core_x"].mean()) and both[1] < alone[0]
    sweep = script.load().headings[0].scores
    text = scores.scores(sweep, script.COMMITTED, 0.05)
    assert text in script.PAGE.read_text()
    means = pd.read_csv(script.COMMITTED / sweep / "runs.csv.gz").groupby("variant")["core_subset"].mean()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| reference", "| dataset"))]
    assert {row[0].strip("| ").partition(" (")[0]: row[2] for row in rows} == {
        name: f"{mean:.3f}" for name, mean in means.items()
    }
