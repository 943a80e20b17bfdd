"""What is published is sealed for ever: files that are not what was written are named, or made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import made_up_runs as made_up
import pytest

from damages import damage
from sample import sample
from sweepkit.errors import SweepkitError
from sweepkit.report import committed

FILES = (
    "frozen.json", "plan.jsonl", "promotion.json", "verdicts.json", "forecast-2.json", "effects.csv",
    "costs.csv",
)  # fmt: skip
TABLES = ("effects.csv", "costs.csv", "promotion.json", "verdicts.json", "runs.csv.gz")
HOW = ("cut", "byte", "no text", "empty", "wrong type", "swapped")
CASES = [(file, how) for file in FILES for how in HOW]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps that are decided, and what is published of the first."""
    results = tmp_path_factory.mktemp("kept") / "results"
    for name, seeds in (("demo", 2), ("other", 3)):
        made_up.promote(made_up.sweep(results, name, seeds=seeds, depths=(2, 4)))
    committed.publish("demo", results, results.parent / "published")
    return results


@pytest.mark.slow
@pytest.mark.parametrize(("file", "how"), sample(CASES, 8))
def test_a_damaged_file_is_not_published(kept: Path, tmp_path: Path, file: str, how: str) -> None:
    results = tmp_path / "results"
    shutil.copytree(kept, results)
    if how == "swapped":
        shutil.copy(results / "other" / file, results / "demo" / file)
    else:
        damage(results / "demo" / file, how)
    try:
        folder = committed.publish("demo", results, tmp_path / "published")
    except SweepkitError as error:
        assert file in str(error) and file not in ("effects.csv", "costs.csv")
        assert not (tmp_path / "published" / "demo").exists()
        return
    for name in TABLES:
        assert (folder / name).read_bytes() == (kept.parent / "published" / "demo" / name).read_bytes(), name
