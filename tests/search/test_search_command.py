"""The command line's side of a search, importances and the dashboard; one search with real training."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from search_fakes import BASE, BETA, LR, FormulaSession, freeze

from sweepkit import results
from sweepkit.cli import main
from sweepkit.config import typed
from sweepkit.config.schema import LauncherConfig
from sweepkit.launch.slurm import workers
from sweepkit.launch.slurm.submit import Submitted
from sweepkit.report import html
from sweepkit.search import best_point, drive, study
from sweepkit.sweep import multirun
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.search_space import Choices, Interval

SPACE = {LR: {"low": 0.005, "high": 0.2, "log": True}, BETA: {"low": 0.899, "high": 0.901}}
TINY = [
    "experiment=mini", "model=d2", "tokenizer.vocab_size=512", "horizon.sequence_len=64",
    "horizon.device_batch_size=4", "horizon.total_batch_size=256", "horizon.num_steps=4",
    "evaluation.max_bytes=4000", "evaluation.sample_tokens=0", "trainer.compile=false",
]  # fmt: skip


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frozen:
    """A finished search in which the learning rate is nearly all that matters."""
    results = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
    sweep = freeze(results, space=SPACE, n_trials=30, sampler="random")
    drive.search(
        sweep, LauncherConfig(), results_dir=results, session_factory=FormulaSession, prepare=lambda c: None
    )
    return sweep


def test_importances_name_what_matters(searched: Frozen, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["results", "s", "--importances", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["parameter"] for row in rows] == [LR, BETA]
    assert rows[0]["importance"] > 0.7
    assert sum(row["importance"] for row in rows) == pytest.approx(1.0)
    assert float(rows[0]["best"]) == study.load(searched.sweep_dir).best_params[LR]
    assert main.main(["results", "s", "--importances", "--sort", "importance"]) == 0
    shown = capsys.readouterr().out
    assert 0 < shown.index(BETA) < shown.index(LR)


def test_importances_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    freeze(tmp_path / "results")
    assert main.main(["results", "s", "--importances"]) == 2
    assert "at least 5 complete trials (it has 0)" in capsys.readouterr().err


@pytest.mark.slow
def test_status_report_and_promote_know_a_search(
    searched: Frozen, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.main(["status", "s"]) == 0
    assert "31 complete" in capsys.readouterr().out
    assert main.main(["resume", "s"]) == 0
    said = capsys.readouterr().out
    assert "30 trials: 30 complete" in said
    assert "reference" in said
    page = html.write("s", searched.sweep_dir.parent).read_text()
    assert f"{LR}=" in page
    best = best_point.of(searched.sweep_dir.parent, "s")
    section = page[page.index('<section id="tried">') :]
    section = section[: section.index("</section>")]
    assert f"The best of 30 complete trials: trial {best.trial}" in section
    assert all(f"<code>{value!r}</code>" in section for value in best.params.values()), "in full"
    history, slices = (
        json.loads(text) for text in re.findall(r'"application/json" id=[^>]*>(.*?)</script>', section)
    )
    told = results.trials("s", searched.sweep_dir.parent)
    shown = dict(zip(history["lines"][0]["trial"], history["lines"][0]["value"], strict=True))
    assert shown == pytest.approx(dict(zip(told["trial"], told["val_bpb"], strict=True)), rel=1e-5)
    assert history["lines"][1]["value"][-1] == pytest.approx(best.value, rel=1e-5)
    assert set(slices["x"]) == set(best.params) and slices["log"] == [LR]
    assert "Importances" in section and "PED-ANOVA" in section
    assert main.main(["resume", "s", "--climb"]) == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    search: dict[str, Any] = typed.dump(searched.search) if searched.search else {}
    (tmp_path / "sweeps" / "s.yaml").write_text(json.dumps({"base": BASE, "search": search}))
    assert main.main(["plan", "sweep=s"]) == 0
    assert "a search of 30 trials: up to 30 further runs" in capsys.readouterr().out
    assert main.main(["promote", "s"]) == 2
    assert "sweep is 's', but must have a ladder to be promoted" in capsys.readouterr().err


def test_plan_counts_the_reference_once_and_refuses_what_sweep_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()

    def write(**search: Any) -> None:
        given = {"base": BASE, "seeds": [1, 2], "search": {"space": {LR: [0.01, 0.02, 0.04]}} | search}
        (tmp_path / "sweeps" / "s.yaml").write_text(json.dumps(given))

    write(n_trials=3)
    assert main.main(["plan", "sweep=s"]) == 0
    said = capsys.readouterr().out
    assert "2 runs" in said
    assert "a search of 3 trials, the reference among them: up to 4 further runs" in said
    for wrong, message in (
        ({"space": {"optimizer.matirx.lr": [0.1, 0.2]}}, "did you mean 'optimizer.matrix'"),
        ({"space": {LR: {"low": 0.01, "high": -1}}}, "low < high"),
        ({"space": {LR: [0.01, -1.0]}}, f"search.space.{LR}: {LR} is -1.0, but must be at least 0"),
        ({"space": {"modell": ["d2", "d4"]}}, "did you mean 'model'"),
        ({"n_trials": 2, "enqueue": [[f"{LR}=0.01"], [f"{LR}=0.04"]]}, "search.n_trials is 2, but must be 3"),
        ({"enqueue": [[f"{LR}=0.01"], [f"{LR}=0.010"]]}, "name every point once"),
        ({"enqueue": [[f"{LR}=0.02"]]}, "name every point once, and not the reference"),
    ):
        write(**wrong)
        refusals = []
        for command in (["plan", "sweep=s"], ["sweep", "s"]):
            assert main.main(command) == 2, wrong
            refusals.append(capsys.readouterr().err)
        assert refusals[0] == refusals[1]
        assert message in refusals[0]
    assert not (tmp_path / "results" / "s").exists()


def test_the_study_opens_in_the_dashboard(searched: Frozen) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    storage_url = pytest.importorskip("optuna_dashboard._storage_url")
    before = (searched.sweep_dir / study.FILE).read_bytes()
    app = dashboard.wsgi(storage_url.get_storage(str(searched.sweep_dir / study.FILE)))

    def get(path: str) -> Any:
        status: list[str] = []
        environment = {
            "REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80",
            "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http",
            "QUERY_STRING": "after=0" if path[-1].isdigit() else "",
        }  # fmt: skip
        body = b"".join(app(environment, lambda line, *_: status.append(line)))
        assert status[0].startswith("200"), (status, body)
        return json.loads(body)

    (summary,) = get("/api/studies")["study_summaries"]
    assert summary["study_name"] == "s"
    detail = get(f"/api/studies/{summary['study_id']}")
    assert [trial["state"] for trial in detail["trials"]] == ["Complete"] * 30
    assert (searched.sweep_dir / study.FILE).read_bytes() == before


def test_hydras_sweep_syntax_is_a_space(tmp_path: Path) -> None:
    arguments = [
        "experiment=mini", "model=d2,d4", f"{LR}=tag(log,interval(0.01,0.05))", f"{BETA}=interval(0,1)",
        "optimizer.matrix.num_iterations=int(interval(3,5))", "optimizer.x0.lr=range(0.1,0.5,0.1)",
        "model.mlp.ratio=range(2,9,2)", "model.window_pattern=choice(L,SL)", "seed=1,2", "launcher=local",
    ]  # fmt: skip
    options = {"n_trials": 7, "sampler": "qmc", "seed": 3}
    frozen = multirun.freeze([*arguments[:3], *arguments[4:]], tmp_path, options)
    assert frozen.search is not None
    assert frozen.search.space == {
        "model": Choices(("d2", "d4")),
        LR: Interval(0.01, 0.05, log=True),
        "optimizer.matrix.num_iterations": Interval(3, 5),
        "optimizer.x0.lr": Interval(0.1, 0.4, step=0.1),
        "model.mlp.ratio": Interval(2, 8, step=2),
        "model.window_pattern": Choices(("L", "SL")),
    }
    assert (frozen.search.n_trials, frozen.search.sampler, frozen.search.seed) == (7, "qmc", 3)
    assert frozen.seeds == (1, 2)
    assert frozen.overrides == ("launcher=local",)
    assert {cell.plan.depth for cell in frozen.cells} == {2}
    assert {cell.plan.config.model.window_pattern for cell in frozen.cells} == {"L"}
    assert multirun.freeze([*arguments[:3], *arguments[4:]], tmp_path, options).name == frozen.name
    other = multirun.freeze([*arguments[:3], *arguments[4:]], tmp_path, options | {"n_trials": 8})
    assert other.name != frozen.name


@pytest.mark.slow
def test_a_search_on_the_command_line_with_real_training(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def sweepkit(*arguments: str) -> str:
        capsys.readouterr()
        status, said = main.main(list(arguments)), capsys.readouterr()
        assert status == 0, said.err + said.out
        return said.out

    command = [
        "train", "-m", *TINY, f"{LR}=tag(log,interval(0.01,0.05))", "model.window_pattern=L,SL",
        "search.n_trials=6", "search.pruning=halving",
    ]  # fmt: skip
    said = sweepkit(*command)
    name = next(word for word in said.split() if word.startswith("multirun-")).rstrip(":")
    rows = json.loads(sweepkit("results", name, "--format", "json"))
    states = [row["state"] for row in rows]
    assert len(rows) == 6
    assert set(states) <= {"complete", "pruned"}
    assert states[0] == "complete"
    for row in rows:
        assert (row["val_bpb"] is None) == (row["state"] == "pruned")
        assert row["step"] < 4 if row["state"] == "pruned" else row["step"] == 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("runs/*/record.json")}
    assert len(before) == 6
    sweepkit(*command)
    sweepkit("resume", name, "launcher=local")
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing was run again"
    (item, *_) = [line for line in sweepkit("status").splitlines() if name in line]  # notes may name it too
    assert f"{states.count('complete')} complete" in item


def test_waiting_for_a_search_on_slurm_ends_with_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
    sweep = freeze(results, n_trials=3, sampler="random")

    def carry_out(title: str, command: list[str], *_: Any, **__: Any) -> Submitted:
        assert (title, command[:2]) == ("s", ["resume", "s"])
        drive.search(
            sweep,
            LauncherConfig(),
            results_dir=results,
            session_factory=FormulaSession,
            prepare=lambda c: None,
        )
        return Submitted(submitted=2, jobs=["7"])

    monkeypatch.setattr(workers, "submit_workers", carry_out)
    assert main.main(["resume", "s", "launcher=slurm", "--wait"]) == 0
    said = capsys.readouterr().out
    assert "2 workers submitted (jobs 7)" in said and "3 trials: 3 complete" in said and "gate" not in said
