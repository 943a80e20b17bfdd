"""Equal tuning: every variant takes its best values on seeds of its own before the sweep is frozen."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import pytest
from cli_fakes import FakeLauncher

from sweepkit import fsio
from sweepkit.cli import running
from sweepkit.cli.main import main
from sweepkit.config import paths, typed
from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError
from sweepkit.launch import execute
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion import selected
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.results import store
from sweepkit.sweep import expand, file, frozen, frozen_head, tuning
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.frozen import Frozen

SWEEP = """\
base: [experiment=mini]
axes:
  model.mlp.kind: [swiglu, gelu]
tune: {optimizer.matrix.lr: [0.5x, 2x], schedule.warmdown_ratio: [0.3]}
seeds: [1, 2, 3, 4, 5]
decision: {alpha: 0.1, min_effect: 0.001, num_unselected: 0, axes: {wall_clock: ignore}}
ladder: mini
"""
#: Kind → the multiple of the reference's rate that is best for it, and its loss there.
BEST = {"relu2": (1.0, 0.0), "swiglu": (2.0, -0.1), "gelu": (0.5, 0.05)}
RATE = compose(["experiment=mini"]).optimizer.matrix.lr
WARMDOWN = compose(["experiment=mini"]).schedule.warmdown_ratio


def loss(plan: RunPlan) -> float | None:
    config = plan.config
    best, there = BEST[config.model.mlp.kind.value]
    if config.model.mlp.kind.value == "gelu" and config.schedule.warmdown_ratio == 0.3:
        return None  # diverges
    miss = math.log(config.optimizer.matrix.lr / (best * RATE))
    noise = 1e-3 * random.Random(plan.run_id).random()
    return (
        3.0 / plan.depth
        + there
        + 0.2 * miss**2
        + 0.01 * abs(config.schedule.warmdown_ratio - WARMDOWN)
        + noise
    )


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here" / "sweeps").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    Path("sweeps/mine.yaml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> FakeLauncher:
    fake = FakeLauncher(loss)
    monkeypatch.setattr(execute, "execute", fake)
    return fake


@pytest.mark.slow
def test_every_variant_is_compared_with_its_best_on_other_seeds(
    launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["promote", "mine"]) == 0
    out = capsys.readouterr().out
    head = frozen_head.read(paths.results_dir() / "mine")
    assert head.sweep.tuned == {
        "model.mlp.kind=swiglu": (f"optimizer.matrix.lr={2 * RATE:.12g}",),
        "model.mlp.kind=gelu": (f"optimizer.matrix.lr={0.5 * RATE:.12g}",),
    }
    assert "taken" in out and "lies at the edge of what was tried" in out
    selection = frozen.load_frozen(paths.results_dir(), "mine-tune")
    compared = frozen.load_frozen(paths.results_dir(), "mine")
    assert {cell.plan.seed for cell in selection.cells}.isdisjoint(cell.plan.seed for cell in compared.cells)
    rates = {
        cell.variant: cell.plan.config.optimizer.matrix.lr for cell in compared.cells if cell.rung == "d2"
    }
    assert rates["model.mlp.kind=swiglu"] == pytest.approx(2 * rates["reference"])
    assert rates["model.mlp.kind=gelu"] == pytest.approx(0.5 * rates["reference"])
    before = len(launcher.started)
    assert main(["promote", "mine"]) == 0 and len(launcher.started) == before, "all of it is done"
    promotion = typed.load(Promotion, fsio.read_json(paths.results_dir() / "mine" / "promotion.json"))
    assert promotion.of(Final.adopted) == ["model.mlp.kind=swiglu"]
    assert main(["report", "mine"]) == 0
    page = (paths.results_dir() / "mine" / "report.html").read_text()
    assert "on selection seeds 16, 17" in page and "schedule.warmdown_ratio" in page
    for command in (["plan", "sweep=mine"], ["sweep", "mine", "--cfg", "job"]):
        capsys.readouterr()
        assert main(command) == 0
        out = capsys.readouterr().out
        assert "tune: first" not in out
        assert f"{0.5 * RATE:.12g}" in out, "as it was frozen"
    assert main(["publish", "mine"]) == 0
    page = Path("results/published/mine/README.md").read_text()
    assert "## Tuning" in page and "| taken |" in page
    content = Path("sweeps/mine.yaml").read_text()
    for edited in (content.replace("[0.5x, 2x]", "[0.1x, 9x]"), content + "tune_seeds: 3\n"):
        Path("sweeps/mine.yaml").write_text(edited)
        assert main(["promote", "mine"]) == 2
        assert "sweep mine is changed (tune" in capsys.readouterr().err
    Path("sweeps/mine.yaml").write_text(content)
    gone = frozen.load_frozen(paths.results_dir(), "mine-tune")
    best = next(
        cell for cell in gone.cells if cell.variant == "model.mlp.kind=swiglu with optimizer.matrix.lr=2x"
    )
    shutil.rmtree(paths.results_dir() / "runs" / best.plan.run_id)
    assert main(["report", "mine"]) == 0
    found = selected.tried(
        file.load("mine"),
        store.load("mine-tune"),
        frozen=frozen_head.read(paths.results_dir() / "mine").sweep.tuned,
    )
    assert next(item for item in found if item.point.label == best.variant).is_taken, "as it was frozen"


@pytest.mark.slow
def test_killed_at_any_run_it_goes_on_to_the_same(
    launcher: FakeLauncher, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["sweep", "mine"]) == 0
    wanted, num_runs = frozen_head.read(paths.results_dir() / "mine").sha256, len(launcher.started)
    for kill_after in (0, 5, num_runs - 20):
        monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(here / f"killed-{kill_after}"))
        left = [kill_after]

        def dying(plan: RunPlan, left: list[int] = left) -> float | None:
            if left[0] == 0:
                left[0] = -1
                raise KeyboardInterrupt
            left[0] -= 1
            return loss(plan)

        launcher.loss = dying
        assert main(["sweep", "mine"]) != 0
        assert main(["sweep", "mine"]) == 0
        assert frozen_head.read(paths.results_dir() / "mine").sha256 == wanted


def test_points_are_a_grid_of_each_variants_own_and_what_is_listed() -> None:
    found = tuning.points(file.load("mine"))
    assert len(found) == 3 * 3 * 2
    assert [point.label for point in found[:3]] == [
        "reference", "reference with schedule.warmdown_ratio=0.3", "reference with optimizer.matrix.lr=0.5x",
    ]  # fmt: skip
    cells = tuning.cells(file.load("mine"))
    assert len(cells) == len(found) * 2 and {cell.rung for cell in cells} == {"d2"}
    assert len({cell.plan.run_id for cell in cells}) == len(cells)
    assert len({cell.variant_key for cell in cells}) == len(found)


def test_a_multiple_is_of_what_the_variant_has_and_its_own_value_is_tried_once() -> None:
    content = {
        "name": "own",
        "base": ["experiment=mini", "model=d2"],
        "axes": {"mlp": {"leaky": ["model.mlp.kind=leaky_relu2", "optimizer.matrix.lr=0.01"]}},
        "tune": {"optimizer.matrix.lr": ["2x", 0.02, "1x"]},
    }
    found = tuning.points(SweepFile.from_json(content))
    mine = [point.overrides for point in found if point.variant.label == "mlp=leaky"]
    assert mine == [(), ("optimizer.matrix.lr=0.02",)], "2 × 0.01 is 0.02, and 1x what it has"


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"optimizer.matrix.lr": []}, "tune.optimizer.matrix.lr is [], but must be a list of values"),
        (
            {"optimizer.matrix.lrr": ["2x"]},
            "'optimizer.matrix.lrr', but must be a field; did you mean",
        ),
        ({"packing.algorithm": ["2x"]}, "must be a multiple of a number"),
        ({"seed": [4]}, "leave the seed alone"),
        ({"launcher.num_workers": [2]}, "set what a run computes"),
        ({"optimizer": ["adamw"]}, "tune is 'optimizer', but must be a field"),
        ({"horizon.num_steps": [900]}, "leave the tokens of a run alone"),
        ({"horizon.sequence_len": [256]}, "be measured on one text by all"),
        ({"model.depth": [4]}, "must stay what rung d2 of the ladder makes it"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_runs(
    tune: dict[str, list[object]], message: str, launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sweeps/mine.yaml").write_text(
        SWEEP.replace("tune:", "#").replace("model.mlp.kind:", "model.mlp.kind:")
    )
    content = Path("sweeps/mine.yaml").read_text() + f"tune: {json.dumps(tune)}\n"
    Path("sweeps/mine.yaml").write_text(content)
    assert main(["promote", "mine"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
    assert not launcher.started


def test_a_search_tunes_in_its_own_space() -> None:
    with pytest.raises(ConfigError, match=r"tune is .*, but must be left out where points are searched"):
        SweepFile.from_json(
            {
                "name": "both",
                "search": {"space": {"optimizer.x0.lr": {"low": 0.1, "high": 1.0}}, "n_trials": 4},
                "tune": {"optimizer.matrix.lr": ["2x"]},
            }
        )


def test_a_point_with_a_run_that_has_no_loss_is_not_taken(launcher: FakeLauncher) -> None:
    assert main(["sweep", "mine"]) == 0
    runs = store.load("mine-tune")
    found = selected.tried(file.load("mine"), runs)
    gelu = [item for item in found if item.point.variant.label == "model.mlp.kind=gelu"]
    assert [item.mean is None for item in gelu] == [
        item.point.values["schedule.warmdown_ratio"] == "0.3" for item in gelu
    ]
    (best,) = (item for item in gelu if item.is_taken)
    assert best.at_edge == ("optimizer.matrix.lr",)


def test_on_a_cluster_the_gate_goes_on_with_the_command_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the selection runs the same words freeze and climb; nothing is frozen before."""
    left: list[tuple[str, ...]] = []

    def leave(sweep: Frozen, how: running.How, submitted: object, command: object) -> int:
        left.append((sweep.name, *how.goes_on))
        return 0

    monkeypatch.setattr(running, "run_cells", lambda *given: "submitted")
    monkeypatch.setattr(running, "leave", leave)
    assert main(["promote", "mine", "launcher=slurm", "--reuse-runs", "--underpowered"]) == 0
    line = ("promote", "sweeps/mine.yaml", "launcher=slurm", "--reuse-runs", "--underpowered")
    assert left == [("mine-tune", *line)]
    assert frozen.frozen_names(paths.results_dir()) == ["mine-tune"]


def test_a_level_named_like_a_value_that_is_tried_is_another_point(launcher: FakeLauncher) -> None:
    Path("sweeps/mine.yaml").write_text(
        "base: [experiment=mini, model=d2]\nseeds: [1]\n"
        "axes: {optimizer.matrix.lr: {2x: [optimizer.matrix.lr=0.3]}}\ntune: {optimizer.matrix.lr: [2x]}\n"
    )
    found = tuning.points(file.load("mine"))
    assert len({point.label for point in found}) == len(found) == 4
    assert main(["sweep", "mine"]) == 0
    assert all(item.mean is not None for item in selected.tried(file.load("mine"), store.load("mine-tune")))


def test_before_it_is_frozen_a_plan_tells_of_the_selection_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "sweep=mine"]) == 0
    assert "tune: first 36 runs on d2, with seeds 16, 17" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("tuned: {reference: [optimizer.grad_clip=1]}", "tuned is {'reference'"),
        ("#", ""),
    ],
)
def test_what_is_found_is_not_given_too(more: str, message: str) -> None:
    Path("sweeps/mine.yaml").write_text(f"{SWEEP}{more}\n")
    if not message:
        assert file.load("mine").tuned == {}
        return
    with pytest.raises(ConfigError, match="beside tune"):
        file.load("mine")


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ({"no.such=variant": ["optimizer.grad_clip=1"]}, "must name a variant"),
        ({"reference": ["seed=7"]}, "leave the seed alone"),
        ({"reference": ["launcher.num_workers=2"]}, "set what a run computes"),
    ],
)
def test_what_is_tuned_by_hand_is_a_variants_and_what_a_level_may_set(
    tuned: dict[str, list[str]], message: str
) -> None:
    content = {"name": "hand", "base": ["experiment=mini", "model=d2"], "axes": {"model.mlp.kind": ["gelu"]}}
    sweep = SweepFile.from_json(content | {"tuned": tuned})
    with pytest.raises(ConfigError, match=message):
        expand.expand_all(sweep)
