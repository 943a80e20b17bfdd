"""docs/data.md, walked: every command prepares the text it speaks of, and its sweep is planned."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from made_up_text import sentences
from test_formats import FORMATS, as_csv

from sweepkit.cli.main import main

DOC = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
WALK = re.findall(r"^    (sweepkit data prepare .*?)(?: +#.*)?$", DOC, re.MULTILINE)
TEXTS = sentences(60)


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the walk finds in the folder that it begins in."""
    monkeypatch.chdir(tmp_path)
    named = {
        "notes.jsonl": "a.jsonl", "a.jsonl": "a.jsonl", "b.jsonl": "a.jsonl", "crawl.jsonl.gz": "a.jsonl.gz",
        "stories.txt": "a.txt", "judge.txt": "a.txt", "shards/2026/one.parquet": "a.parquet",
        "shards/two.parquet": "a.parquet", "saved/train/data-00000-of-00001.arrow": "a.arrow",
        "saved/test/data-00000-of-00001.arrow": "a.arrow",
    }  # fmt: skip
    for number, (name, kind) in enumerate(named.items()):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(FORMATS[kind](sentences(60, 100 * number)))
    Path("table.csv").write_bytes(as_csv(TEXTS).replace(b"id,text", b"id,body"))
    Path("books").mkdir()
    for number, text in enumerate(TEXTS):
        Path(f"books/{number}.txt").write_text(text)


def test_the_walk_is_one_of_seven_formats() -> None:
    assert len(WALK) == 7


@pytest.mark.parametrize("line", WALK)
def test_the_walk(line: str, texts: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*shlex.split(line)[1:], "tokenizer.vocab_size=300"]  # little text is written here
    assert main(words) == 0
    assert re.search(r"^dataset +files: \d+ documents", capsys.readouterr().out, re.MULTILINE)


def test_the_sweep_of_two_texts_is_planned(texts: None, capsys: pytest.CaptureFixture[str]) -> None:
    start = DOC.index("    question:")
    Path("own.yaml").write_text("\n".join(line[4:] for line in DOC[start:].split("\n\n")[0].splitlines()))
    assert main(["plan", "sweep=./own.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "text=b" in shown and "decides nothing" not in shown
    Path("own.yaml").write_text(
        Path("own.yaml").read_text().replace(", dataset.validation_path=judge.txt", "")
    )
    assert main(["plan", "sweep=./own.yaml"]) == 2
    assert "be measured on one text by all" in capsys.readouterr().err
