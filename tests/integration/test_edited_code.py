"""Code that is edited between two commands, and text: neither gives the old numbers as the new ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweepkit as package
from sweepkit.config import paths
from tiny_sweep import write_sweep

Cli = Callable[..., CompletedProcess[str]]

TINY = (
    "experiment=mini", "model=d2", "model.aspect_ratio=16", "model.head_dim=16", "tokenizer.vocab_size=300",
    "horizon.sequence_len=64", "horizon.num_steps=4", "horizon.total_batch_size=256",
    "horizon.device_batch_size=4", "evaluation.max_bytes=2000", "evaluation.sample_tokens=0",
    "precision.dtype=fp32", "trainer.compile=false", "trainer.checkpoint_every_steps=0",
    "logging.diagnostics_every_steps=0",
)  # fmt: skip


def bpb(results: Path) -> list[float]:
    """Of every run that is there, in no order."""
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/record.json")]
    return sorted(record["results"]["val_bpb"] for record in records)


def copied(folder: Path) -> Path:
    """The package where it may be edited."""
    source = Path(package.__file__).parent
    return shutil.copytree(source, folder / "code" / "sweepkit", ignore=shutil.ignore_patterns("__pycache__"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old} to edit"
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_edited_code_does_not_hand_out_old_results(sweepkit: Cli, tmp_path: Path) -> None:
    """ReLU² becomes GELU; the same command refuses, takes or runs again, as it is told to."""
    source = Path(package.__file__).parent
    copy = shutil.copytree(
        source, tmp_path / "code" / "sweepkit", ignore=shutil.ignore_patterns("__pycache__")
    )
    there = {"PYTHONPATH": str(tmp_path / "code"), "SWEEPKIT_CONF_DIR": str(paths.conf_dir())}
    there["PYTHONDONTWRITEBYTECODE"] = "1"
    results = tmp_path / "results"
    first = sweepkit("train", *TINY, **there)
    assert first.returncode == 0, first.stderr
    (old,) = bpb(results)
    mlp = copy / "model" / "mlp.py"
    edit(mlp, "F.relu(up_BTF).square()", "F.gelu(up_BTF, approximate='tanh')")
    refused = sweepkit("train", *TINY, **there)
    assert refused.returncode == 2 and "already complete" not in refused.stdout
    record = json.loads(next(results.glob("runs/*/record.json")).read_text())
    for word in (record["environment"]["sources"], "--rerun", "--accept-code"):
        assert word in refused.stderr
    multirun = sweepkit("train", "-m", *TINY, **there)
    assert multirun.returncode == 2 and "--accept-code" in multirun.stderr
    taken = sweepkit("train", *TINY, "--accept-code", **there)
    assert taken.returncode == 0 and "already complete" in taken.stdout and bpb(results) == [old]
    edit(mlp, "F.gelu(up_BTF, approximate='tanh')", "F.silu(up_BTF)")
    again = sweepkit("train", *TINY, "-m", "--rerun", **there)
    assert again.returncode == 0, again.stderr
    assert bpb(results) != [old]
    (kept,) = results.glob("runs/*/earlier/*/record.json")
    assert json.loads(kept.read_text())["results"]["val_bpb"] == old


@pytest.mark.slow
def test_own_text_is_what_is_in_it(here: Cli, tmp_path: Path) -> None:
    """Two folders of one name, then one edited in place: three runs, and no average over texts."""
    results = tmp_path / "results"

    def write(name: str, word: str) -> Path:
        folder = tmp_path / name / "train"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            texts = [f"{word} {number} {line}: " + " ".join(map(str, range(line))) for line in range(300)]
            pq.write_table(pa.table({"text": texts}), folder / f"part{number}.parquet")
        return folder

    def train(folder: Path, *more: str) -> CompletedProcess[str]:
        own = ["dataset=files", f"dataset.path={folder}", "evaluation.streams=[validation]"]
        done = here("train", *more, *TINY, *own)
        assert done.returncode == 0, done.stderr
        return done

    wiki, code = write("wiki", "river"), write("code", "return")
    train(wiki)
    assert "already complete" not in train(code).stdout
    assert "already complete" in train(wiki).stdout
    assert len(set(bpb(results))) == 2
    write("wiki", "12 45")  # as many bytes; not as many tokens
    train(wiki, "-m", "seed=1,2")
    assert len(set(bpb(results))) == 4, "both seeds of the multirun are of the text as it is now"
    before = {path.name for path in results.glob("runs/*")}
    shutil.move(wiki, tmp_path / "elsewhere")
    assert "already complete" in train(tmp_path / "elsewhere").stdout
    assert {path.name for path in results.glob("runs/*")} == before


@pytest.mark.slow
def test_a_sweep_pairs_no_runs_of_two_programs(sweepkit: Cli, tmp_path: Path) -> None:
    source = Path(package.__file__).parent
    copy = shutil.copytree(
        source, tmp_path / "code" / "sweepkit", ignore=shutil.ignore_patterns("__pycache__")
    )
    there = {"PYTHONPATH": str(tmp_path / "code"), "SWEEPKIT_CONF_DIR": str(paths.conf_dir())}
    name = write_sweep(tmp_path, ladder="none", num_steps=4)
    assert sweepkit("sweep", name, **there).returncode == 0
    mlp = copy / "model" / "mlp.py"
    edit(mlp, "F.relu(up_BTF).square()", "F.gelu(up_BTF, approximate='tanh')")
    (variant, *_) = sorted((tmp_path / "results" / "runs").iterdir())
    shutil.rmtree(variant)  # as if it had not been reached before the edit
    for command in ("sweep", "promote", "resume"):
        refused = sweepkit(command, name, **there)
        assert refused.returncode == 2 and "made by other code" in refused.stderr, command
    assert not variant.exists()
    taken = sweepkit("promote", name, "--accept-code", **there)
    assert taken.returncode == 0, taken.stderr
    assert "3 of 4 runs were made by other code" in taken.stdout
    assert (variant / "record.json").exists()
