"""sweepkit data: what it prints, as text and as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from made_up_text import folder_config

from sweepkit.cli import data as command


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run ``sweepkit data ARGUMENTS`` on a small folder and return what it printed."""
    monkeypatch.setattr(command, "_compose", lambda _overrides: folder_config(folder))
    parser = argparse.ArgumentParser(prog="sweepkit")
    command.add_parser(parser.add_subparsers(dest="command", required=True))

    def call(*arguments: str) -> str:
        assert command.run(parser.parse_args(["data", *arguments])) == 0
        return capsys.readouterr().out

    return call


def test_prepare_says_what_was_prepared(run) -> None:  # type: ignore[no-untyped-def]
    text = run("prepare")
    assert "folder: 60 documents" in text and "best_fit" in text and "ready in" in text
    value = json.loads(run("prepare", "--format", "json", "--verify"))
    assert value["num_docs"] == 60 and value["streams"].keys() == {"validation", "probe"}


def test_stats_compares_the_algorithms(run) -> None:  # type: ignore[no-untyped-def]
    rows = {row["algorithm"]: row for row in json.loads(run("stats", "--format", "json"))["packing"]}
    assert rows.keys() == {"best_fit", "greedy_crop", "stream"}
    assert rows["best_fit"]["cropped_frac"] <= rows["greedy_crop"]["cropped_frac"]
    assert rows["best_fit"]["cropped_floor_frac"] == rows["greedy_crop"]["cropped_floor_frac"]
    assert "floor" in run("stats")


def test_list_names_every_dataset(run) -> None:  # type: ignore[no-untyped-def]
    rows = {row["dataset"]: row["description"] for row in json.loads(run("list", "--format", "json"))}
    assert rows.keys() >= {
        "embedded", "files", "fineweb_edu", "climbmix", "fineweb", "finepdfs_mix", "dolma3",
    }  # fmt: skip
    assert all(rows.values()), "a dataset says nothing about itself"


def test_stats_tell_what_the_tokenizer_makes_of_text(run) -> None:  # type: ignore[no-untyped-def]
    found = json.loads(run("stats", "--format", "json"))["tokenizer"]
    texts = found["bytes_per_token"]
    assert {"train", "validation", "probe", "code", "numbers", "other scripts"} == set(texts)
    assert all(value >= 1 for value in texts.values()) and texts["train"] > texts["other scripts"]
    assert 1 <= found["unused"] < found["vocab_size"], "some of the 256 bytes never stand alone"
