"""Every patch of ideas/ says where it is from, applies to the code as it is, plans and trains two steps."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import sample
from sweepkit.code import patch, tree
from sweepkit.code.making import Made, Making
from sweepkit.sweep import file

ROOT = Path(__file__).parents[2]
IDEAS = sorted(path.stem for path in (ROOT / "ideas").glob("*.patch"))
TINY = (
    "experiment=mini", "model=d4", "model.aspect_ratio=16", "model.head_dim=16", "tokenizer.vocab_size=300",
    "horizon.sequence_len=64", "horizon.num_steps=2", "horizon.total_batch_size=256",
    "horizon.device_batch_size=4", "evaluation.max_bytes=2000", "evaluation.sample_tokens=0",
    "trainer.compile=false", "trainer.checkpoint_every_steps=0", "logging.diagnostics_every_steps=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Making(tmp_path_factory.mktemp("here"), None).here()


@pytest.mark.parametrize("name", IDEAS)
def test_an_idea_has_a_source_and_applies(name: str, here: Made, tmp_path: Path) -> None:
    path = ROOT / "ideas" / f"{name}.patch"
    said = re.search(r"^Source: (\S+), (\d{4}-\d\d-\d\d)", path.read_text(), re.MULTILINE)
    assert said, "its second line names the row that reports it"
    with (ROOT / said[1]).open() as file_:
        rows = [row for row in csv.DictReader(file_) if row["date"] == said[2]]
    assert any("rejected" in row["published_verdict"] and row["expressed_as"] == "patch" for row in rows)
    assert patch.touched(name, path.read_bytes()).left_out == ()
    made = Making(tmp_path, here).level("axes.idea", f"ideas/{name}.patch")
    assert made.level.files


@pytest.mark.slow
@pytest.mark.parametrize("name", sample.sample(IDEAS, 1))
def test_an_idea_trains(
    name: str, here: Made, tmp_path: Path, sweepkit: Callable[..., CompletedProcess[str]]
) -> None:
    made = Making(tmp_path, here).level("axes.idea", f"ideas/{name}.patch")
    folder = tmp_path / "tree"
    folder.mkdir()
    for place, called in tree.CHECKOUT.items():
        (made.work / place).rename(folder / called)
    done = sweepkit("train", *TINY, **tree.environment(folder))
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout


def test_the_sweep_of_ideas_has_all_of_them_tuned_alike() -> None:
    sweep = file.load(ROOT / "sweeps/ideas.yaml")
    named = {item for level in sweep.axes["idea"].values() for item in level}
    assert {f"code='ideas/{name}.patch'" for name in IDEAS} <= named
    assert len(IDEAS) >= 8
    assert sweep.tune and sweep.ladder == "demo"
