"""Every small file × every damage × every command: the undisturbed answer, or a line that names the file."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from types import FrameType

import pytest
from cli_fakes import FakeLauncher, higher_rate_is_better

from damages import DAMAGES, damage
from sample import sample
from sweepkit import fsio
from sweepkit.cli.main import main
from sweepkit.launch import claim_files, execute, process
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.slurm import submissions
from sweepkit.results.record import Attempt, RunDir

pytestmark = pytest.mark.xdist_group("damaged files")

Captured = pytest.CaptureFixture[str]
SWEEP = """\
axes: {rate: {tenth: [optimizer.matrix.lr=0.002], up: [optimizer.matrix.lr=0.04]}}
seeds: [1, 2, 3]
decision: {alpha: 0.1, min_effect: 0.001, num_unselected: 0}
ladder: mini
"""
FILES = [
    "runs/RUN/record.json", "runs/RUN/plan.json", "runs/RUN/claim.json", "runs/RUN/attempts/1.json",
    "runs/RUN/metrics.jsonl", "runs/RUN/progress.json", "runs/RUN/scores.json", "runs/RUN/cancel",
    "runs/RUN/log.txt", "runs/RUN/pruned.json",
    "mine/frozen.json", "mine/plan.jsonl", "mine/verdicts.json", "mine/promotion.json", "mine/report.html",
    "mine/forecast-2.json", "mine/first_judged.json",
    "calibration.json", ".slurm/id.json", ".slurm/jobs/old.json", ".index/records.jsonl",
    ".index/sweep-mine.jsonl", ".workers/old/claim.json", ".workers/old/list.json",
]  # fmt: skip
COMMANDS = [
    ["status"], ["status", "mine", "--runs"], ["results", "mine", "--format", "csv"], ["report", "mine"],
    ["sweep", "mine"], ["promote", "mine"], ["resume", "mine"], ["cancel", "mine"],
]  # fmt: skip
#: Cases that once ended in silence or in a hang; they are always tried.
ONCE_WRONG = [
    ("mine/forecast-2.json", "byte", ["promote", "mine"]), ("runs/RUN/log.txt", "pipe", ["report", "mine"]),
]  # fmt: skip
#: A file of another sweep, or of another run, whole.
SWAPPED = "swapped"
CASES = [(file, how, command) for file in FILES for how in (*DAMAGES, SWAPPED) for command in COMMANDS]
LIMIT_S = 120


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep file and, in ``kept``, what ``undisturbed`` has."""
    folder = tmp_path_factory.mktemp("promoted")
    (folder / "sweeps").mkdir()
    for name, seeds in (("mine", "1, 2, 3"), ("other", "4, 5, 6")):
        (folder / "sweeps" / f"{name}.yaml").write_text(SWEEP.replace("1, 2, 3", seeds))
    results = folder / "kept"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SWEEPKIT_RESULTS_DIR", str(results))
        patch.setattr(execute, "execute", FakeLauncher(higher_rate_is_better))
        for name in ("mine", "other"):
            assert main(["promote", name]) == 0
        run_dir = RunDir(sorted((results / "runs").iterdir())[0])
        info = ClaimInfo("t", process.current(), "d", 1, 0, "now", released=True)
        for path in (run_dir.claim_path, results / ".workers" / "old" / "claim.json"):
            fsio.write_text(path, claim_files.in_file(path, info))
        run_dir.write_attempt(Attempt(1))
        fsio.append_line(run_dir.metrics_path, {"step": 1, "loss": 2.0})
        for name in ("progress.json", "scores.json"):
            (run_dir.path / name).write_text("{}")
        fsio.write_json(results / "calibration.json", {"schema_version": 1, "calibrations": []})
        submissions.folder_id(results)
        submissions.write(results, submissions.Submission("old", "mine", 10))
        assert main(COMMANDS[2]) == 0  # what it caches is there
    return results


@pytest.fixture
def undisturbed(kept: Path, own_results_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of a finished promotion, with every small file that there is."""
    monkeypatch.chdir(kept.parent)
    shutil.copytree(kept, own_results_dir)
    return own_results_dir


def of_another(path: Path, results: Path) -> Path:
    """The file that another sweep, or another run, has in that place."""
    place, *rest = path.relative_to(results).parts
    if place == "mine":
        return results.joinpath("other", *rest)
    if place == "runs":
        return results.joinpath("runs", sorted((results / "runs").iterdir())[1].name, *rest[1:])
    return path.with_name(path.name.replace("mine", "other"))


def give_up(number: int, frame: FrameType | None) -> None:
    raise AssertionError("it hangs")


def says(arguments: list[str], capsys: Captured) -> tuple[int, str, str]:
    """Exit status, output and errors. A pipe that is opened in the ordinary way waits for ever."""
    capsys.readouterr()
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_S)
    try:
        status = main(arguments)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(4))
def test_a_damaged_file_is_made_again_or_named(
    launcher: FakeLauncher, kept: Path, undisturbed: Path, capsys: Captured, chunk: int
) -> None:
    answers = {}
    for file, how, command in [*ONCE_WRONG, *sample(CASES, 16)][chunk::4]:
        run_id = sorted((kept / "runs").iterdir())[0].name
        path = undisturbed / file.replace("RUN", run_id)
        if str(command) not in answers:
            answers[str(command)] = says(command, capsys)
            shutil.rmtree(undisturbed)
            shutil.copytree(kept, undisturbed)
        expected = answers[str(command)]
        if how != SWAPPED:
            damage(path, how)
        elif (sibling := of_another(path, undisturbed)).is_file() and sibling != path:
            shutil.copy(sibling, path)
        status, out, err = says(command, capsys)
        where = f"{file}, {how}, {' '.join(command)}: {out[-500:]}{err[-800:]}"
        named = path.name in out + err or path.parent.name in err or "scores.json" in err
        same = (status, sorted(out.split())) == (expected[0], sorted(expected[1].split()))
        assert status in (0, 1, 2), where
        assert same or named, where
        if status == 2:
            assert len(err.strip().splitlines()) <= 3, where
        shutil.rmtree(undisturbed)
        shutil.copytree(kept, undisturbed)


def test_a_claim_torn_twice_over_ends_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "claim.json"
    path.write_text("{")
    ((first, _),) = claim_files.chain_of(path)
    claim_files.ticket(path, first.token).write_text("{")
    assert len(claim_files.chain_of(path)) == 2
