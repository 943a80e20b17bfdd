"""Every number of a record, of an evaluation, a plan and a logged step × numbers that it cannot be."""

from __future__ import annotations

import dataclasses
import math
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up_runs as made_up
import pytest

from sweepkit import fsio
from sweepkit.config import facts, typed
from sweepkit.results import columns, curve_columns, store
from sweepkit.results.columns import CORRUPT, FLOAT, INT, RUN_COLUMNS, Column
from sweepkit.results.conditions import Environment, Fp8, KeptWeights, Resolved
from sweepkit.results.curve_columns import CURVE_COLUMNS
from sweepkit.results.record import Attempt, RunDir, RunRecord

#: Whatever is finite can be one of these.
ANY = {
    "score_<name>", "update_data_log10_<group>", "grad_data_log10_<group>", "weight_log10_<group>",
}  # fmt: skip
RUN = made_up.plan()


def named(column: Column) -> str:
    """A column, or a member of a family."""
    return column.name.replace("<task>", "arc").replace("<stream>", "probe").replace("<group>", "matrix")


def numbers(known: tuple[Column, ...]) -> list[Column]:
    return [column for column in known if column.dtype in (INT, FLOAT)]


def impossible(column: Column) -> list[float]:
    """The nearest and the furthest numbers beyond each end."""
    found = [] if column.above is None else [column.above, -1e9]
    found += [] if column.least is None else [column.least - 1, -1e9]
    return found if column.most is None else [*found, column.most + 1, 170.0]


def test_every_number_has_an_end() -> None:
    for column in [*numbers(RUN_COLUMNS), *numbers(CURVE_COLUMNS)]:
        assert impossible(column) or column.name in ANY, column.name
        for value in (math.nan, math.inf, "fast", True):
            assert column.implausible(value)


RESULTS = [
    (named(column), value)
    for column in numbers(RUN_COLUMNS)
    if not hasattr(RUN, column.name) and "<group>" not in column.name
    for value in impossible(column)
]


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    made_up.finish(tmp_path, RUN)
    made_up.freeze(tmp_path, "s", [made_up.cell(RUN)])
    return RunDir.of(tmp_path, RUN.run_id)


def check_refused(run_dir: RunDir, content: dict[str, Any], name: str) -> None:
    """It is in no table, is named there and to a launch, which does the run again."""
    fsio.write_json(run_dir.record_path, content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert run_dir.read_record() is None, name
        (row,) = store.load("s", run_dir.path.parents[1]).to_dict("records")
    assert row["state"] == CORRUPT and "must" in row["failure_message"], name
    assert all(f"{run_dir.path.name}/record.json" in str(item.message) for item in said) and said
    assert name in str(said[0].message)


@pytest.mark.slow
def test_a_record_of_what_cannot_be_measured_is_no_answer(run_dir: RunDir) -> None:
    whole = fsio.read_json(run_dir.record_path)
    for name, value in RESULTS:
        part = "packing" if name.startswith("packing_") else "results"
        block = whole[part] | {name.removeprefix("packing_"): value}
        check_refused(run_dir, whole | {part: block}, name)


def fields(kind: type, value: dict[str, Any], prefix: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """``value`` with each of the type's numbers in turn below what it can be, and that one's dotted name."""
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        blocks = [each for each in facts.alternatives(hints[item.name]) if dataclasses.is_dataclass(each)]
        if blocks:
            inside = value.get(item.name) or EXAMPLES.get(blocks[0], {})
            for changed, name in fields(typing.cast(type, blocks[0]), inside, f"{prefix}{item.name}."):
                yield value | {item.name: changed}, name
        elif {int, float} & {*facts.alternatives(hints[item.name])} and item.name not in NAMES:
            yield value | {item.name: -1}, prefix + item.name


EXAMPLES: dict[Any, dict[str, Any]] = {
    Fp8: {"backend": "native"}, KeptWeights: typed.dump(KeptWeights("0", 1)),
}  # fmt: skip
NAMES = {"seed", "schema_version"}  # say which one it is, and have readers of their own


def test_no_number_of_a_record_is_below_what_it_can_be(run_dir: RunDir) -> None:
    whole = fsio.read_json(run_dir.record_path)
    found = {name: changed for changed, name in fields(RunRecord, whole)}
    assert len(found) > 10 and "resolved.fp8.flops_share" in found
    for name, changed in found.items():
        check_refused(run_dir, changed, name)


def test_an_attempt_with_a_number_that_cannot_be_is_none(run_dir: RunDir) -> None:
    run_dir.write_attempt(Attempt(1))
    (kept,) = run_dir.attempts_path.iterdir()
    whole = run_dir.read(kept)
    for changed, name in fields(Attempt, whole):
        assert run_dir.attempts()
        run_dir.write(kept, changed)
        assert not run_dir.attempts(), name
        run_dir.write(kept, whole)


@pytest.mark.parametrize("column", numbers(CURVE_COLUMNS), ids=lambda column: column.name)
def test_a_logged_step_with_a_number_that_cannot_be_is_left_out(tmp_path: Path, column: Column) -> None:
    name, run_dir = named(column), RunDir.of(tmp_path, "a")
    fsio.make_folder(run_dir.path)
    fsio.append_line(run_dir.metrics_path, {"step": 1, "loss": 2.0})
    assert curve_columns.find(name) is not None
    for value in impossible(column):
        fsio.append_line(run_dir.metrics_path, {"step": 2, "loss": 2.0, name: value})
        with pytest.warns(
            UserWarning, match=rf"metrics.jsonl: {name} is .* must be .*; that row is left out"
        ):
            assert [row["step"] for row in run_dir.metrics()] == [1]


def test_a_plan_with_a_number_that_cannot_be_is_named(run_dir: RunDir) -> None:
    whole = fsio.read_json(run_dir.plan_path)
    for column in numbers(RUN_COLUMNS):
        if column.name in whole and column.name not in NAMES:
            fsio.write_json(run_dir.plan_path, whole | {column.name: -1})
            with pytest.warns(UserWarning, match=f"plan.json cannot be read.*{column.name} is -1"):
                store.load(store.ALL, run_dir.path.parents[1])


def test_parts_of_a_record_say_what_their_numbers_can_be() -> None:
    for kind in (Resolved, Environment, Fp8, KeptWeights):
        for item in dataclasses.fields(kind):
            if {int, float} & {*facts.alternatives(typing.get_type_hints(kind)[item.name])}:
                assert facts.declared(item).range is not None, item.name
    assert columns.find("mfu").implausible(1.2) is None  # type: ignore[union-attr]
