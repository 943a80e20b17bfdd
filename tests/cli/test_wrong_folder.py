"""A folder of text that cannot be trained on is refused alike by every command, before anything is begun."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweepkit.cli.main import USER_ERROR, main

COMMANDS = ("plan", "train", "train -m", "plan sweep", "sweep", "promote", "data prepare")
TEXT = ["a sentence", "and another one"]


def write(path: Path, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"{path.stem}: {text}" for text in TEXT]
    pq.write_table(pa.table(columns or {"text": texts, "id": [1, 2]}), path)


def splits(folder: Path) -> None:
    write(folder / "train" / "a.parquet")
    write(folder / "test" / "a.parquet")


def formats(folder: Path) -> None:
    (folder / "c.txt").write_text("text")


def empty_file(folder: Path) -> None:
    (folder / "b.parquet").write_bytes(b"")


def no_file(folder: Path) -> None:
    for path in folder.glob("*.parquet"):
        path.rename(path.with_suffix(".bin"))


def a_wrong_line(folder: Path) -> None:
    for path in folder.glob("*.parquet"):
        path.unlink()
    (folder / "a.jsonl").write_text('{"text": "one"}\n{"text": 5}\n')


def other_columns(folder: Path) -> None:
    write(folder / "a.parquet", body=TEXT)


def nothing(folder: Path) -> None:
    pass


#: What is wrong → how the folder is made so, what is said of it, and what says it.
WRONG: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no such column": (nothing, ["dataset.text_column=txt"], "is 'txt', but must name a column of"),
    "no text": (nothing, ["dataset.text_column=id"], "dataset.text_column is 'id', of type int64"),
    "its columns": (other_columns, [], "dataset.text_column is 'text', but must name a column of"),
    "all held out": (nothing, ["dataset.validation_shards=2"], "leave one of the 2 files to train on"),
    "none held out": (nothing, ["dataset.validation_shards=0"], "dataset.validation_shards is 0"),
    "splits": (splits, [], "which holds train and test, but must be one of them; use dataset.path="),
    "formats": (formats, [], "which holds a.parquet (2) and c.txt (1), but must hold text of one format"),
    "an empty file": (empty_file, [], "b.parquet is empty, but must hold text"),
    "no file": (no_file, [], "which holds no file of text, but must hold at least one of *.parquet"),
    "a wrong line": (a_wrong_line, [], "'text', of type int in"),
    "a missing validation text": (
        nothing,
        ["dataset.validation_path=no.txt"],
        "dataset.validation_path is 'no.txt'",
    ),
}


@pytest.mark.parametrize(("wrong", "command"), list(itertools.product(WRONG, COMMANDS)))
def test_every_command_says_it_and_begins_nothing(
    wrong: str, command: str, tmp_path: Path, own_results_dir: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make, overrides, words = WRONG[wrong]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "text"
    for name in ("a", "b"):
        write(folder / f"{name}.parquet")
    make(folder)
    given = ["experiment=mini", "model=d2", "dataset=files", f"dataset.path={folder}", *overrides]
    content = {"axes": {"optimizer.x0.lr": [0.1, 0.2]}, "base": given}
    content |= {"ladder": "mini"} if command == "promote" else {}
    Path("own.yaml").write_text(json.dumps(content))
    last = {
        "plan sweep": ["sweep=./own.yaml"], "sweep": ["./own.yaml"], "promote": ["./own.yaml"],
        "train -m": [*given, "seed=1,2"],
    }.get(command, given)  # fmt: skip
    assert main([*command.removesuffix(" sweep").split(), *last]) == USER_ERROR
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1, said.err
    assert not own_results_dir.exists() or not list(own_results_dir.glob("runs/*"))
