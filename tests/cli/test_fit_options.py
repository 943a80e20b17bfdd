"""Every option of ``sweepkit fit`` alone, beside another, and with nonsense: a line, or another answer."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sample
from sweepkit.cli.main import main

#: What a question needs, and one good value of every option.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "optima": ("--axis", "lr", "--by", "depth"),
    "ridges": ("--axis", "lr", "--axis2", "batch"),
    "known optima": ("--optimum", "lr", "--scale", "width"),
    "sizes": ("--params", "params", "--tokens", "tokens", "--replicates", "5"),
    "forecast": ("--params", "params", "--tokens", "tokens", "--forecast", "--sizes", "2"),
    "batches": ("--batch", "batch", "--tokens", "tokens"),
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "--loss": ("other",),
    "--higher-is-better": (),
    "--where": ("seed == 1",),
    "--drop": ("0-3",),
    "--seed-column": ("width",),
    "--axis": ("batch",),
    "--axis2": ("params",),
    "--axis-scale": ("linear",),
    "--by": ("width",),
    "--scale": ("params",),
    "--optimum": ("batch",),
    "--rule": ("-0.5",),
    "--curvature": ("shared",),
    "--tolerance": ("0.01",),
    "--propose": (),
    "--params": ("width",),
    "--tokens": ("tokens2",),
    "--flops": ("flops",),
    "--trunk": ("depth",),
    "--replicates": ("7",),
    "--huber-delta": ("0.01",),
    "--batch": ("width",),
    "--target": ("2.9",),
    "--forecast": (),
    "--sizes": ("3",),
    "--at": ("1e9,2e10",),
    "--confidence": ("0.9",),
    "--key": ("d={width}",),
}
#: (question, option, other): the other leaves no law, no optimum or one seed for the option to bear on.
MOOT = {
    *(("optima", name, other) for name in ("--scale", "--rule") for other in ("--axis", "--axis-scale")),
    *(("optima", name, "--higher-is-better") for name in ("--scale", "--rule", "--tolerance")),
    *(("optima", "--seed-column", "--where"), ("batches", "--rule", "--target")),
}
NONSENSE = ("", "nothing", "nan", "inf", "-1", "0", "1e400", "9-", ",", "state", "{", "lr", "'", "a\nb")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sizes × batches × learning rates × seeds at two horizons."""
    rng, rows = np.random.default_rng(0), []
    for depth, batch, lr, seed, ratio in itertools.product(
        (2, 3, 4, 6), (1024, 2048, 4096), 0.005 * 2.0 ** np.arange(5), (1, 2), (5.0, 20.0)
    ):
        params = 1e5 * depth**2
        tokens = ratio * params
        best = 0.04 / depth**0.5 * (batch / 2048) ** 0.5
        loss = 2 + 9 / params**0.2 + 9 / (tokens / (1 + batch / 4e4)) ** 0.2 + 0.03 * np.log(lr / best) ** 2
        noise = 0.002 * rng.standard_normal(2)
        row = (depth, 64 * depth, batch, lr, seed, params, tokens, tokens * 1.5, 8 * params * tokens)
        rows.append((*row, loss + noise[0], 2 * loss + noise[1], "complete"))
    names = ["depth", "width", "batch", "lr", "seed", "params", "tokens", "tokens2", "flops"]
    path = tmp_path_factory.mktemp("options") / "table.csv"
    pd.DataFrame(rows, columns=[*names, "val_bpb", "other", "state"]).to_csv(path, index=False)
    return path


def asked(table: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """The exit status, and the JSON's answers; a refusal is one line."""
    capsys.readouterr()
    try:
        status = main(["fit", str(table), "--format", "json", *words])
    except SystemExit as leave:  # argparse refuses a word
        status = int(leave.code or 0)
    out, err = capsys.readouterr()
    if status:
        assert status == 2 and err.count("\n") == 1 and err.startswith("sweepkit: "), (words, err)
        assert "Traceback" not in err
        return status, err
    found = json.loads(out)
    found.pop("question")
    return status, found


def worded(name: str) -> tuple[str, ...]:
    """As one word, for a value may begin with a dash."""
    return (f"{name}={OPTIONS[name][0]}",) if OPTIONS[name] else (name,)


ALONE = [(question, (option,)) for question in QUESTIONS for option in OPTIONS]
PAIRS = [
    (question, pair)
    for question in QUESTIONS
    for pair in itertools.combinations(OPTIONS, 2)
    if question != "nothing"
]


@pytest.mark.parametrize(("question", "options"), sample.sample(ALONE, 25) + sample.sample(PAIRS, 15))
def test_an_option_changes_the_answer_or_is_refused(
    question: str, options: tuple[str, ...], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes last holds: an option that the question has already takes its place."""
    said = [*QUESTIONS[question], *(word for option in options for word in worded(option))]
    status, found = asked(table, capsys, *said)
    if status:
        return
    for option in options:
        if option in QUESTIONS[question] and not OPTIONS[option]:
            continue  # said twice
        if (question, option) == ("known optima", "--by"):
            continue  # they are named by their scale unasked, which is the width too
        if any((question, option, other) in MOOT for other in options):
            continue
        without = [word for other in options if other != option for word in worded(other)]
        before, plain = asked(table, capsys, *QUESTIONS[question], *without)
        assert before or found != plain, f"{option} is ignored beside {question} {without}"


@pytest.mark.parametrize(
    ("question", "option", "value"),
    sample.sample(
        [
            (question, option, value)
            for question in QUESTIONS
            for option, good in OPTIONS.items()
            if good
            for value in NONSENSE
        ],
        40,
    ),
)
def test_nonsense_is_refused_in_a_line(
    question: str, option: str, value: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(table, capsys, *QUESTIONS[question], f"{option}={value}")


@pytest.mark.parametrize("option", ["--output", "--report"])
@pytest.mark.parametrize("place", ["/proc/x", "/proc/x/y.json", "FOLDER", "TABLE/y"])
def test_a_place_that_cannot_be_written_is_said_in_a_line(
    option: str, place: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = {"FOLDER": str(table.parent), "TABLE/y": f"{table}/y"}.get(place, place)
    assert main(["fit", str(table), *QUESTIONS["known optima"], option, path]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and ("cannot be used" in error or "is a folder" in error)
