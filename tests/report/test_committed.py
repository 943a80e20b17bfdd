"""What is committed of sweeps: every verdict is made again from it, without a run."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from page_checker import check
from scipy import stats

from sweepkit import fsio
from sweepkit.campaign import course
from sweepkit.cli.main import main
from sweepkit.config import typed
from sweepkit.errors import SweepkitError
from sweepkit.promotion import replay
from sweepkit.report import content, html
from sweepkit.results import store
from sweepkit.sweep import frozen, published_seal

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
#: Folders of sweeps; what else lies there are tables of other kinds.
FOLDERS = sorted(path.parent for path in PUBLISHED.rglob(published_seal.PACKED_PLAN))


def rebuilt(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that the frozen rule makes of a committed folder's tables."""
    whole = frozen.load_frozen(folder.parent, folder.name)
    frame = store.load(folder.name, folder.parent)
    promotion = replay.climbed(whole, whole.decision, frame)
    assert promotion.finished
    found: list[dict[str, Any]] = typed.dump([item for rung in promotion.rungs for item in rung.verdicts])
    return found


def assert_same(made: Any, stored: Any, where: str = "") -> None:
    """Words and counts to the letter, numbers to what another machine's sums leave of them."""
    if isinstance(stored, dict):
        assert isinstance(made, dict) and made.keys() == stored.keys(), where
        for key, value in stored.items():
            assert_same(made[key], value, f"{where}.{key}")
    elif isinstance(stored, list):
        assert len(made) == len(stored), where
        for place, value in enumerate(stored):
            assert_same(made[place], value, f"{where}.{place}")
    elif isinstance(stored, float) and isinstance(made, float) and math.isfinite(made):
        assert made == pytest.approx(stored, rel=1e-6, abs=1e-12), where
    elif not (stored is None and isinstance(made, float)):  # what is not finite is null in a file
        assert made == stored, where


@pytest.mark.slow
def test_every_committed_verdict_follows_from_the_committed_tables() -> None:
    for folder in FOLDERS:
        assert_same(rebuilt(folder), fsio.read_json(folder / "verdicts.json")["verdicts"], folder.name)


@pytest.mark.slow
def test_every_committed_run_has_its_curve_and_the_page_names_every_verdict() -> None:
    for folder in FOLDERS:
        check_page(folder)


def check_page(folder: Path) -> None:
    runs, curves = store.load(folder.name, folder.parent), store.curves(folder.name, folder.parent)
    complete = set(runs.loc[runs["state"] == "complete", "run_id"])
    assert complete <= set(curves.loc[curves["loss"].notna(), "run_id"])
    spent = curves.sort_values("step").groupby("run_id")["flops"].last()  # of the step logged last
    planned = runs.drop_duplicates("run_id").set_index("run_id")["total_flops"]
    assert (spent.reindex(sorted(complete)) == planned.reindex(sorted(complete))).all()
    page = (folder / "README.md").read_text()
    effects = pd.read_csv(folder / "effects.csv")
    assert all(variant in page for variant in effects["variant"].unique())
    assert (folder / "figure.svg").read_text().startswith("<svg")


def readers(folder: Path) -> list[Callable[[], object]]:
    """Every road to a number of a published folder."""
    name, results = folder.name, folder.parent
    return [
        lambda: store.load(name, results),
        lambda: store.curves(name, results),
        lambda: frozen.load_frozen(results, name),
        lambda: content.gather(name, results),
        lambda: course.standing(results, name),
    ]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flip": flip,
    "truncate": lambda path: os.truncate(path, path.stat().st_size - 2),
    "empty": lambda path: os.truncate(path, 0),
    "delete": Path.unlink,
    "swap": lambda path: path.write_bytes(other(path)),
}


def other(path: Path) -> bytes:
    """The content of the same file of another published sweep, or of another file where only one has it."""
    mine = path.read_bytes()
    found = [folder / name for name in (path.name, "effects.csv") for folder in FOLDERS]
    return next(data for at in found if at.is_file() and (data := at.read_bytes()) != mine)


@pytest.mark.slow
def test_a_committed_folder_has_a_page() -> None:
    """Without its runs: their curves, and what is configured in each."""
    page = html.render(content.gather("tune_mini", PUBLISHED))
    assert check(page).open == [] and 'id="data-curves-' in page and "reference → this run" in page


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_every_file_of_a_committed_folder_is_refused_by_name_where_it_is_damaged(
    folder: Path, tmp_path: Path
) -> None:
    mine = tmp_path / folder.name
    shutil.copytree(folder, mine)
    for path in sorted(mine.iterdir()):
        before = path.read_bytes()
        for kind, damage in DAMAGES.items():
            damage(path)
            # another folder's manifest is whole: then it is the first of its files that is not as it says
            is_foreign = kind == "swap" and path.name == published_seal.FILE
            expected = "is damaged" if is_foreign else re.escape(f"{path} is ")
            for read in readers(mine):
                with pytest.raises(SweepkitError, match=expected):
                    read()
            path.write_bytes(before)
    for read in readers(mine):
        read()


TABLES = sorted({path.parent for path in PUBLISHED.rglob("*.csv")} - {*FOLDERS})


def test_every_committed_table_is_sealed(tmp_path: Path) -> None:
    """Those of scripts too; made again it is sealed again, and a table beside none stays without."""
    for folder in TABLES:
        assert (folder / published_seal.FILE).exists(), folder
        mine = tmp_path / folder.name
        shutil.copytree(folder, mine)
        published_seal.check(mine)
        for path in mine.glob("*.csv"):
            flip(path)
            with pytest.raises(SweepkitError, match=path.name):
                published_seal.check(mine)
            path.write_text("made again")
            published_seal.renew(mine)
            published_seal.check(mine)
    (tmp_path / "a.csv").write_text("a")
    published_seal.renew(tmp_path)
    assert not (tmp_path / published_seal.FILE).exists()


def test_docs_mini_quotes_the_committed_noise() -> None:
    table = pd.read_csv(PUBLISHED / "mini_noise" / "noise.csv")
    docs = (PUBLISHED.parents[1] / "docs" / "mini.md").read_text()
    plain = table.loc[table["run"] == "plain", "val_bpb"]
    df, sd = len(plain) - 1, float(plain.std())
    bound = sd * (df / stats.chi2.ppf(0.10, df)) ** 0.5
    assert f"| the seed | {len(plain)} | {sd:.4f} (upper 90% bound {bound:.4f}) |" in docs
    for run, words in {
        "weights moved by 1e-7": "weights moved by 1e-7",
        "micro-batches of half": "micro-batches of half the rows",
        "two threads": "two threads instead of one",
        "two processes": "two processes instead of one",
    }.items():
        found = table.loc[table["run"] == run, "difference"]
        assert f"| {words} | {len(found)} | {found.std():.6f}" in docs, run


@pytest.mark.parametrize(
    "stray", ["calibration.json", "amendment-1.json", "trials.jsonl", "plan.jsonl", "tasks.csv"]
)
def test_a_file_that_was_put_beside_is_refused_by_name(stray: str, tmp_path: Path) -> None:
    mine = tmp_path / "tune_mini"
    shutil.copytree(PUBLISHED / "tune_mini", mine)
    (mine / stray).write_text("{}\n")
    (mine / "report.html").write_text("a reader's own")
    for read in readers(mine):
        with pytest.raises(SweepkitError, match=stray):
            read()


def test_a_folder_without_manifest_is_sealed_by_command_and_a_damaged_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "tune_mini"
    shutil.copytree(PUBLISHED / "tune_mini", mine)
    (mine / published_seal.FILE).unlink()
    assert main(["results", str(mine)]) == 2
    assert f"sweepkit publish {mine} --seal" in capsys.readouterr().err
    flip(mine / "verdicts.json")
    assert main(["publish", str(mine), "--seal"]) == 2
    assert "verdicts.json is damaged" in capsys.readouterr().err
    flip(mine / "verdicts.json")
    assert main(["publish", str(mine), "--seal"]) == 0
    assert fsio.read_json(mine / published_seal.FILE) == fsio.read_json(
        PUBLISHED / "tune_mini" / published_seal.FILE
    )
    flip(mine / "effects.csv")
    assert main(["publish", str(mine), "--seal"]) == 2
    assert main(["publish", str(tmp_path), "--seal"]) == 2
    assert "folder of a published sweep" in capsys.readouterr().err


def test_what_is_published_again_takes_the_place_of_what_was_there_or_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filled(name: str) -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "runs.csv.gz").write_text(name)
        return made

    folder = tmp_path / "published"
    for name in ("first", "second"):
        published_seal.put(filled(name), folder)
        published_seal.check(folder)
        assert (folder / "runs.csv.gz").read_text() == name
    refused = filled("third")
    rename = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path == refused:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="no"):
        published_seal.put(refused, folder)
    published_seal.check(folder)
    assert (folder / "runs.csv.gz").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published", "third"]
