"""The documentation of columns is complete and consistent."""

from __future__ import annotations

import pandas as pd
import pytest

from sweepkit.results import columns
from sweepkit.results.columns import RUN_COLUMNS, Direction
from sweepkit.results.curve_columns import CURVE_COLUMNS

BINDING = """
run_id variant variant_key variant_id role rung seed pair_key depth state failure_class val_bpb train_time_s
median_step_time_s compile_time_s eval_time_s tokens_per_s mfu peak_memory_gib num_steps total_tokens
total_flops step environment_fingerprint evaluation_fingerprint hardware dtype
"""


@pytest.mark.parametrize("known", [RUN_COLUMNS, CURVE_COLUMNS])
def test_every_column_has_a_dtype_a_meaning_and_one_entry(
    known: tuple[columns.Column, ...],
) -> None:
    names = [column.name for column in known]
    assert len(names) == len(set(names))
    for column in known:
        pd.api.types.pandas_dtype(column.dtype)
        assert len(column.meaning) > 5
        assert column.direction is Direction.none or column.dtype in ("Float64", "Int64")


def test_the_names_others_rely_on_are_there() -> None:
    assert set(BINDING.split()) <= {column.name for column in RUN_COLUMNS}


def test_families_match_their_members_only() -> None:
    stream = columns.find("bpb_probe")
    assert stream is not None
    assert stream.name == "bpb_<stream>"
    assert columns.find("bpb_") is None
    assert columns.find("no_such") is None
    fingerprint = columns.find("evaluation_fingerprint_probe")
    assert fingerprint is not None
    assert fingerprint.dtype == "string"


def test_order_is_the_documentations_with_unknown_names_last() -> None:
    assert columns.order(["zzz", "val_bpb", "bpb_b", "run_id", "bpb_a"]) == [
        "run_id", "val_bpb", "bpb_a", "bpb_b", "zzz",
    ]  # fmt: skip
