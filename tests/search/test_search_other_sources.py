"""A search that meets finished runs of other code asks as train and sweep do, by every road to such a run."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from search_fakes import LR, FormulaSession, freeze, ran

from sample import sample
from sweepkit.config import sources
from sweepkit.config.choices import LauncherKind
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import SweepkitError
from sweepkit.launch.other_sources import EARLIER, OtherSources
from sweepkit.results import store
from sweepkit.results.conditions import Environment
from sweepkit.results.record import RunDir
from sweepkit.search import drive
from sweepkit.sweep import trials
from sweepkit.sweep.frozen import Frozen

OTHER = "0123456789abcdef"
POINTS = [0.01, 0.02, 0.04, 0.08]
WORKER = (sys.executable, str(Path(__file__).with_name("search_fake_worker.py")))
#: Its own; of a search over the same space, whose trials it begins with; met when it proposes them.
ROADS = ("its own", "another search's", "proposed")
CASES = list(itertools.product(ROADS, (LauncherKind.inline, LauncherKind.local), OtherSources))


class Interrupting(FormulaSession):
    """Ends a search after so many runs."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def run(self, *args: Any, **kwargs: Any) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().run(*args, **kwargs)


def search(
    sweep: Frozen,
    launcher: LauncherKind = LauncherKind.inline,
    answer: OtherSources = OtherSources.refuse,
    session: FormulaSession | None = None,
) -> None:
    drive.search(
        sweep, LauncherConfig(kind=launcher, num_workers=1), results_dir=sweep.sweep_dir.parent,
        prepare=lambda config: None, session_factory=lambda: session or FormulaSession(),
        worker_command=WORKER, other_sources=answer,
    )  # fmt: skip


def made_by_other_code(results: Path, but: set[str]) -> None:
    """Every run that has ended."""
    for path in (results / "runs").iterdir():
        if path.name not in but and (record := RunDir(path).read_record()) is not None:
            RunDir(path).write_record(replace(record, environment=Environment(sources=OTHER)))


def met(road: str, results: Path) -> Frozen:
    """A search that is to go on, or to begin, among runs that other code has finished."""
    space: dict[str, Any] = {"space": {LR: POINTS}, "n_trials": len(POINTS)}
    sweep = freeze(results, **space)
    if road == "another search's":
        search(freeze(results, "first", **space))
    else:
        with pytest.raises(KeyboardInterrupt):
            search(sweep, session=Interrupting(2))
    if road == "proposed":
        search(freeze(results, "others", **space))
    mine = {cell.plan.run_id for trial in trials.load(sweep.sweep_dir) for cell in trial.cells}
    made_by_other_code(results, set() if road != "proposed" else mine)
    return sweep


@pytest.mark.slow
@pytest.mark.parametrize(("road", "launcher", "answer"), sample(CASES, 9))
def test_it_asks_before_it_takes_or_repeats_what_other_code_made(
    road: str, launcher: LauncherKind, answer: OtherSources, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    sweep = met(road, results)
    before, there = ran(results), set(ran(results, "end"))
    if answer is OtherSources.refuse:
        with pytest.raises(SweepkitError) as error:
            search(sweep, launcher)
        for word in (OTHER, sources.digest(), "--rerun", "--accept-code"):
            assert word in str(error.value)
        assert "\n" not in str(error.value)
        assert not set(ran(results)[len(before) :]) & set(before)
        assert not list(results.glob(f"runs/*/{EARLIER}"))
        return
    search(sweep, launcher, answer)
    frame = store.load("s", results)
    assert list(frame["state"]) == ["complete"] * len(POINTS)
    again, kept = ran(results)[len(before) :], list(results.glob(f"runs/*/{EARLIER}/{OTHER}-1/record.json"))
    assert bool(kept) == (answer is OtherSources.rerun)
    if answer is OtherSources.accept:
        assert not set(again) & there, "what was taken is not run again"
        taken = frame[frame["accepted_by"] == sources.digest()]
        assert set(taken["sources"]) == {OTHER}, "the code that computed it"
    else:
        assert sorted(path.parents[2].name for path in kept) == sorted(set(again) & set(before))
        assert OTHER not in set(frame["sources"])
    search(sweep, launcher)  # nothing is asked any more
