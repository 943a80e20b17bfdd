"""A whole campaign from the command line, with runs that take no time and a known truth."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import made_up_slurm
import pandas as pd
import pytest
from cli_fakes import FakeLauncher

import sample
from sweepkit.cli.main import main
from sweepkit.plan.run_plan import RunPlan
from sweepkit.report import stamp
from sweepkit.results import store
from sweepkit.results.columns import PLANNED
from sweepkit.sweep import frozen, frozen_head

CAMPAIGN = """\
question: What is left to gain?
order: [rates, betas, pairs, fours]
alpha: 0.2
shares: {rates: 2}
"""
COMMON = """\
base: [experiment=mini, evaluation.max_bytes=65536]
seeds: [1, 2, 3]
decision: {min_effect: 0.001, num_unselected: 0, looks: [3], axes: {steps: superior, wall_clock: ignore}}
ladder: mini
"""
ROUNDS = {
    "rates": "axes: {optimizer.matrix.lr: [2x, 0.1x], optimizer.embedding.lr: [2x]}\n",
    "betas": "after: rates\naxes: {optimizer.x0.beta1: [0.8, 0.9], optimizer.resid.beta1: [0.7]}\n",
    "pairs": "after: [rates, betas]\nmoved: 3\ncombine: 2\n",
    "fours": "after: pairs\nmoved: 4\ncombine: [4]\n",
}
#: Changes of the loss; twice the matrix rate is best and is adopted first, the others after it.
EFFECTS = {"matrix.lr": -0.2, "embedding.lr": -0.1, "x0.beta1": -0.05}
#: The campaign at one depth; climbing a ladder takes longer and is the business of one test.
MINE = ["campaign", "mine", "ladder=none", "model=d2"]
Captured = pytest.CaptureFixture[str]


def loss(plan: RunPlan) -> float:
    optimizer = plan.config.optimizer
    noise = random.Random(plan.run_id).gauss(0.0, 2e-4) + random.Random(plan.seed).gauss(0.0, 1e-2)
    found = 3.0 / plan.depth + noise
    found += EFFECTS["matrix.lr"] * (optimizer.matrix.lr > 0.03) + 0.5 * (optimizer.matrix.lr < 0.01)
    found += EFFECTS["embedding.lr"] * (optimizer.embedding.lr > 0.5)
    return found + EFFECTS["x0.beta1"] * (optimizer.x0.beta1 == 0.9)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: FakeLauncher) -> Path:
    folder = tmp_path / "here" / "sweeps" / "mine"
    folder.mkdir(parents=True)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    for name, text in ROUNDS.items():
        (folder / f"{name}.yaml").write_text(text + COMMON)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(stamp, "is_current", lambda *_: True)  # pages of sweeps have tests of their own
    launcher.loss = loss
    return folder


@pytest.fixture
def results(own_results_dir: Path) -> Path:
    return own_results_dir


def sweeps(results: Path) -> dict[str, frozen_head.Head]:
    names = frozen.frozen_names(results)
    return {name.removeprefix("mine-"): frozen_head.read(results / name) for name in names}


def verdicts(results: Path) -> dict[str, str]:
    return {name: (results / f"mine-{name}" / "verdicts.json").read_text() for name in sweeps(results)}


@pytest.mark.slow
def test_every_round_starts_from_what_was_adopted(
    here: Path, launcher: FakeLauncher, results: Path, capsys: Captured
) -> None:
    assert main([*MINE, "--plan"]) == 0
    planned = int(re.search(r"(\d+) runs at most", capsys.readouterr().out)[1])  # type: ignore[index]
    assert main(MINE) == 0
    started = list(launcher.started)
    found = sweeps(results)
    rounds = pd.concat([store.load(f"mine-{name}", results) for name in ("rates", "betas", "pairs")])
    assert 0 < (rounds["state"] != PLANNED).sum() <= planned
    assert set(found) == {"rates", "betas", "pairs", "final-single", "ablate"}
    bases = {name: list(head.sweep.base) for name, head in found.items()}
    assert "optimizer.matrix.lr=0.04" not in bases["rates"]
    assert bases["betas"][-1] == "optimizer.matrix.lr=0.04"
    assert bases["pairs"][-2:] == ["optimizer.matrix.lr=0.04", "optimizer.x0.beta1=0.9"]
    # what was adopted is in the reference and is combined no more
    assert set(found["pairs"].sweep.axes) == {"optimizer.embedding.lr"}
    shares = [found[name].sweep.decision.alpha for name in ("rates", "betas", "pairs")]
    assert shares == pytest.approx([0.08, 0.04, 0.04]), "and the round that had nothing to try has the rest"
    seeds = {
        name: {cell.plan.seed for cell in frozen.load_frozen(results, f"mine-{name}").cells} for name in found
    }
    assert sum(map(len, seeds.values())) == len(set().union(*seeds.values())), "no seed twice"
    out = " ".join(capsys.readouterr().out.split())
    assert "nothing to try: too little moved" in out
    page = (results / "mine" / "README.md").read_text()
    assert "optimizer.matrix.lr=2x (rates); optimizer.x0.beta1=0.9 (betas)" in page
    assert (results / "mine" / "figure.svg").read_text().startswith("<svg")

    assert main(MINE) == 0
    assert launcher.started == started, "nothing is run again"
    (here / "rates.yaml").write_text((here / "rates.yaml").read_text().replace("0.1x", "0.2x"))
    assert main(MINE) == 2, "another course than the one that was decided"
    assert "was decided on other levels" in capsys.readouterr().err


@pytest.mark.slow
def test_the_end_is_measured_on_fresh_text_and_every_change_left_out_once(
    launcher: FakeLauncher, results: Path
) -> None:
    main(["campaign", "mine"])
    for rung in ("d2", "d4", "d6"):
        runs = store.load(f"mine-final-{rung}", results)
        assert set(runs["rung"].unique()) == {"single"} and runs["depth"].nunique() == 1
        by_variant = runs.groupby("variant")["bpb_validation_holdout"].mean()
        gained = by_variant["last_reference=new"] - by_variant["reference"]
        assert gained == pytest.approx(sum(EFFECTS.values()), abs=1e-3)
    plans = [cell.plan for cell in frozen.load_frozen(results, "mine-final-d6").cells]
    assert {plan.config.evaluation.max_bytes for plan in plans} == {2 * 65536}
    runs = store.load("mine-ablate", results)
    means = runs.groupby("variant")["val_bpb"].mean()
    lost = {name.partition("=")[2]: means[name] - means["reference"] for name in means.index}
    lost.pop("")
    assert lost == pytest.approx({"rates": 0.2, "pairs": 0.15}, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", sample.sample(range(1, 50), 1))
def test_killed_anywhere_it_goes_on_to_the_same_verdicts(
    launcher: FakeLauncher,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill_after: int,
) -> None:
    class Killed(BaseException):
        pass

    def dying(plan: RunPlan) -> float:
        if len(launcher.started) == kill_after:
            raise Killed
        return loss(plan)

    launcher.loss = dying
    with pytest.raises(Killed):
        main(MINE)
    launcher.loss = loss
    assert main(MINE) == 0
    went_on = verdicts(results)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "other"))
    assert main(MINE) == 0
    assert went_on == verdicts(tmp_path / "other")


@pytest.mark.slow
def test_committed_rounds_are_read_and_not_run_again(
    launcher: FakeLauncher,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    committed = tmp_path / "committed"
    assert main([*MINE, "--publish", str(committed)]) == 0
    whole = verdicts(results)
    for name in ("mine-rates", "mine-pairs", "mine-ablate"):
        pd.testing.assert_frame_equal(store.load(name, committed), store.load(name, results))
        assert main(["promote", str(committed / name), "--replay"]) == 0
        assert "nothing would have been decided differently" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree(committed / "mine-pairs")
    for path in committed.glob("mine-final-*"):
        shutil.rmtree(path)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "clone"))
    launcher.started.clear()
    assert main([*MINE, "--from", str(committed)]) == 0
    assert set(sweeps(tmp_path / "clone")) == {"pairs", "final-single"}
    for name, text in verdicts(tmp_path / "clone").items():
        assert text == whole[name]


@pytest.mark.slow
def test_slurm_goes_on_from_round_to_round_by_gates(
    launcher: FakeLauncher, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    slurm = made_up_slurm.install(monkeypatch)
    assert main([*MINE, "launcher=slurm"]) == 0
    assert set(sweeps(results)) == {"rates"} and not launcher.started
    gate = slurm.waiting[-1]
    assert gate.is_gate and gate.command[0] == "campaign" and gate.command[-1] == "launcher=slurm"
    assert slurm.carry_out(results, monkeypatch) == 0
    assert {"betas", "pairs", "ablate", "final-single"} <= set(sweeps(results))
    assert not store.load("mine-ablate", results)["state"].eq(PLANNED).any()


@pytest.mark.parametrize(("file", "before", "after", "said"), [
    ("campaign", "fours]", "fives]", "order"),
    ("campaign", "alpha: 0.2", "alpha: 0.9", "alpha"),
    ("campaign", "rates: 2", "rate: 2", "did you mean 'rates'"),
    ("betas", "after: rates", "after: pairs", "betas: after"),
    ("pairs", "moved: 3", "moved: 1", "moved"),
    ("rates", "2x,", "2y,", "optimizer.matrix.lr"),
])  # fmt: skip
def test_mistakes_in_its_files_are_named(
    here: Path, capsys: Captured, file: str, before: str, after: str, said: str
) -> None:
    path = here / f"{file}.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    assert main([*MINE, "--plan"]) == 2
    assert said in capsys.readouterr().err


def test_a_round_alone_is_refused(here: Path, capsys: Captured) -> None:
    assert main(["promote", str(here / "pairs.yaml")]) == 2
    assert "sweepkit campaign" in capsys.readouterr().err


def test_plan_and_status_run_nothing(launcher: FakeLauncher, results: Path, capsys: Captured) -> None:
    assert main([*MINE, "--plan"]) == 0
    planned = capsys.readouterr().out
    assert all(name in planned for name in ROUNDS) and re.search(r"\d+ runs at most", planned)
    assert main([*MINE, "--status"]) == 0
    assert "waits for rates" in " ".join(capsys.readouterr().out.split())
    assert not launcher.started and not results.exists()
