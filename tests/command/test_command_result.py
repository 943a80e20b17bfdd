"""What a command has told: each road to its metric, and what is missing, damaged or no number."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from damages import damage
from sweepkit.launch.command_result import Curve, NoResult, read
from sweepkit.plan.command_plan import MetricRead

FILE = MetricRead("loss", read="result.json")
STDOUT = MetricRead("loss", read="stdout")
REGEX = MetricRead("loss", regex=r"bpb: ([\d.naif]+)")


def test_the_metric_comes_from_a_file_a_line_or_a_match(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"loss": 1.5, "steps": 20, "seconds": 4, "hardware": "H100"}')
    told = read(FILE, tmp_path, "")
    assert (told.metric, told.hardware) == (1.5, "H100")
    assert told.numbers == {"num_steps": 20, "train_time_s": 4, "median_step_time_s": 0.2}
    log = 'step 1\rbpb: 3.0\n{"loss": 2.5}\n{"other": 1}\nbpb: 2.0\nno more\n'
    assert read(STDOUT, tmp_path, log).metric == 2.5
    assert read(REGEX, tmp_path, log).metric == 2.0  # the last one
    assert read(REGEX, tmp_path, log).numbers["num_steps"] == 20  # result.json may say more in any case


def test_inner_keys_and_names_with_dots(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text('{"eval": {"loss": 1.0}, "a.b": 2.0}')
    assert read(MetricRead("x", read="out.json", key="eval.loss"), tmp_path, "").metric == 1.0
    assert read(MetricRead("x", read="out.json", key="a.b"), tmp_path, "").metric == 2.0


@pytest.mark.parametrize("text", ["NaN", "Infinity"])
def test_a_number_that_is_not_finite_is_told_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(f'{{"loss": {text}}}')
    assert not math.isfinite(read(FILE, tmp_path, "").metric)
    assert math.isnan(read(REGEX, tmp_path, "bpb: nan").metric)
    (tmp_path / "result.json").write_text(
        f'{{"loss": "{text}"}}'
    )  # of a writer whose JSON has no such number
    assert not math.isfinite(read(FILE, tmp_path, "").metric)


def test_the_last_line_with_the_key_is_the_result_also_where_it_is_none(tmp_path: Path) -> None:
    steps = '{"loss": 3.0}\n{"loss": 2.5, "steps": 9}\n{"lr": 0.1}\n{"loss": 1'
    assert read(STDOUT, tmp_path, steps).metric == 2.5
    assert math.isnan(read(STDOUT, tmp_path, steps + '\n{"loss": "nan"}').metric)
    for last in ('{"loss": null}', '{"loss": "2.5"}', '{"loss": [1]}', '{"loss": true}'):
        with pytest.raises(NoResult, match="must be a number"):
            read(STDOUT, tmp_path, f"{steps}\n{last}\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_a_result_may_be_in_any_of_jsons_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes('{"loss": 1.5, "hardware": "é"}'.encode(encoding))
    found = read(MetricRead("loss", read="result.json"), tmp_path, "")
    assert (found.metric, found.hardware) == (1.5, "é")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"loss": 1' + "0" * 400 + "}", '{"loss": 1' + "0" * 5000 + "}"]
)
def test_json_that_no_program_holds_is_no_result(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(NoResult):
        read(FILE, tmp_path, "")
    with pytest.raises(NoResult):
        read(STDOUT, tmp_path, "{" + text)
    steps = ["Infinity", "NaN", "1" + "0" * 400, '"x"', "null", "1.5"]
    rows = [f'{{"step": {step}, "loss": 1}}' for step in steps]
    rows += ['{"step": 1, "loss": 1' + "0" * 400 + "}", "[" * 50_000, '{"step": 2, "loss": 1.5}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    assert list(Curve(tmp_path, "val").new()) == [{"step": 2, "loss": 1.5}]


@pytest.mark.parametrize(
    ("how", "content", "log", "words"),
    [
        (FILE, None, "", "is missing, but must hold the result"),
        (FILE, "{", "", "cannot be read"),
        (FILE, "[1]", "", "must hold a JSON object"),
        (FILE, '{"lss": 1}', "", r"loss is missing in result.json \(it has lss\)"),
        (FILE, '{"loss": null}', "", "must be a number"),
        (FILE, '{"loss": true}', "", "must be a number"),
        (STDOUT, None, '{"lss": 1}\n{"loss": ', "no line of the log"),
        (REGEX, None, "bpb = 3", "matches nothing in the log"),
        (REGEX, None, "bpb: 1.2.3", "must match a number"),
        (MetricRead("val_bpb", read="result.json"), '{"val_bpb": -1}', "", "must be above 0"),
    ],
)
def test_what_cannot_be_read_is_named(
    how: MetricRead, content: str | None, log: str, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(NoResult, match=words):
        read(how, tmp_path, log)


@pytest.mark.parametrize("how", ["pipe", "folder", "device", "no text"])
def test_what_is_no_file_is_not_waited_for(how: str, tmp_path: Path) -> None:
    damage(tmp_path / "result.json", how)
    with pytest.raises(NoResult, match=r"result.json cannot be read \("):
        read(FILE, tmp_path, "")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_curve_is_followed_as_it_grows(suffix: str, tmp_path: Path) -> None:
    curve, path = Curve(tmp_path, "val"), tmp_path / f"metrics.{suffix}"
    rows = [{"step": 1, "train_loss": 3.0, "odd": 1}, {"step": 2, "train_loss": 2.0, "val": 1.5}]
    table = ["step,train_loss,odd,val", "1,3.0,1,", "2,2.0,,1.5"]
    lines = [json.dumps(row) for row in rows] if suffix == "jsonl" else table
    assert list(curve.new()) == []
    half = lines[-1][:2]
    path.write_text("\n".join([*lines[:-1], half]))
    assert list(curve.new()) == [{"step": 1, "loss": 3.0}]
    with path.open("a") as file:
        file.write(lines[-1][2:] + "\nbroken\n")
    assert list(curve.new()) == [{"step": 2, "loss": 2.0, "val": 1.5}]
