"""Filters and sort orders, against plain Python."""

from __future__ import annotations

import contextlib
import operator

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.errors import SweepkitError
from sweepkit.results import query

FRAME = pd.DataFrame(
    {
        "seed": pd.array([1, 2, 3, None], dtype="Int64"),
        "val_bpb": pd.array([0.9, 0.8, None, 1.1], dtype="Float64"),
        "state": pd.array(["complete", "complete", "failed", None], dtype="string"),
        "git_dirty": pd.array([True, False, None, False], dtype="boolean"),
        "started_at": pd.to_datetime(["2026-01-01", "2026-01-03", None, "2026-02-01"], utc=True),
        "learning_rates_x0": pd.array([0.5, 0.5, 0.2, 0.1], dtype="Float64"),
    }
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("val_bpb < 0.85", [1]),
        ("val_bpb >= 0.9", [0, 3]),
        ("state == complete", [0, 1]),
        ("state = 'complete' and seed != 1", [1]),
        ('state != "complete"', [2]),
        ("not state == complete", [2]),
        ("state == failed or val_bpb > 1", [2, 3]),
        ("state == complete and val_bpb > 1 or seed == 3", [2]),
        ("state == complete and (val_bpb > 1 or seed == 2)", [1]),
        ("seed in [1, 3]", [0, 2]),
        ("seed not in [1, 3]", [1]),
        ("state in [failed]", [2]),
        ("val_bpb is missing", [2]),
        ("val_bpb is not missing", [0, 1, 3]),
        ("val_bpb IS MISSING OR seed==1", [0, 2]),
        ("git_dirty == true", [0]),
        ("started_at > 2026-01-02", [1, 3]),
        ("learning_rates_x0 == 5e-1", [0, 1]),
        ("val_bpb > -1", [0, 1, 3]),
    ],
)
def test_filters(expression: str, rows: list[int]) -> None:
    assert list(query.keep(FRAME, expression).index) == rows


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("vall_bpb < 1", "did you mean 'val_bpb'"),
        ("@x == 1", "--filter"),
        ("__import__('os').system('true')", "--filter"),
        ("val_bpb.mean() > 1", "--filter"),
        ("val_bpb < ", "a value should follow"),
        ("val_bpb", "a comparison should follow"),
        ("(val_bpb < 1", "')' should follow"),
        ("val_bpb < 1 seed", "was not expected"),
        ("val_bpb < low", "does not compare"),
        ("git_dirty == perhaps", "does not compare"),
        ("seed in 1", "'[' should follow"),
        ("", "a column should follow"),
        ("state == 'unclosed", "cannot be read"),
        ("val_bpb ~ 3", "no comparison"),
    ],
)
def test_a_bad_filter_says_what_is_wrong(expression: str, said: str) -> None:
    with pytest.raises(SweepkitError) as error:
        query.keep(FRAME, expression)
    assert said in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_user_error(expression: str) -> None:
    with contextlib.suppress(SweepkitError):
        query.keep(FRAME, expression)


OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
             "!=": operator.ne}  # fmt: skip


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=8), st.sampled_from(list(OPERATORS)),
       st.integers(-5, 5), st.booleans())  # fmt: skip
def test_a_missing_value_satisfies_no_comparison(
    values: list[int | None], symbol: str, bound: int, negated: bool
) -> None:
    frame = pd.DataFrame({"x": pd.array(values, dtype="Int64")})
    kept = list(query.keep(frame, f"{'not ' if negated else ''}x {symbol} {bound}").index)
    holds = OPERATORS[symbol]
    expected = [value is not None and holds(value, bound) != negated for value in values]
    assert kept == [place for place, wanted in enumerate(expected) if wanted]


def test_sorting_is_stable_with_missing_values_last_either_way() -> None:
    assert list(query.order_by(FRAME, "val_bpb").index) == [1, 0, 3, 2]
    assert list(query.order_by(FRAME, "-val_bpb").index) == [3, 0, 1, 2]
    assert list(query.order_by(FRAME, "-learning_rates_x0,-seed").index) == [1, 0, 2, 3]
    with pytest.raises(SweepkitError, match="--sort is ''"):
        query.order_by(FRAME, "")


def test_unknown_columns_to_sort_or_select_are_named() -> None:
    with pytest.raises(SweepkitError, match="did you mean 'seed'"):
        query.order_by(FRAME, "-sed")
    with pytest.raises(SweepkitError, match="did you mean 'state'"):
        query.select(FRAME, "seed,stat")
    assert list(query.select(FRAME, "val_bpb, seed").columns) == ["val_bpb", "seed"]


#: Values that no run has, in columns of a few words, and the nearest that one may have.
MISTYPED = {
    "state == complet": "complete", "state != complet": "complete", "state in [complete, faild]": "failed",
    "state == Planned": "planned", "failure_class == disk_ful": "disk_full", "rung == d22": "d2",
    "variant == 'lr=lo'": "lr=low", "level_lr == lo": "low", "level_steps == 500": "50",
}  # fmt: skip
FEW = FRAME.assign(
    failure_class=pd.array([None, None, "oom", None], dtype="string"),
    rung=pd.array(["d2", "d2", "d4", "d4"], dtype="string"),
    variant=pd.array(["reference", "lr=low", "reference", "lr=low"], dtype="string"),
    level_lr=pd.array(["reference", "low", "reference", "low"], dtype="string"),
    level_steps=pd.array(["50", "100", "50", None], dtype="string"),
)


@pytest.mark.parametrize("expression", MISTYPED)
def test_what_a_column_cannot_be_is_refused_with_the_nearest(expression: str) -> None:
    with pytest.raises(SweepkitError, match=f"did you mean '{MISTYPED[expression]}'"):
        query.keep(FEW, expression)


@pytest.mark.parametrize("column", sorted(query._WORDS))
def test_every_known_word_may_be_asked_for(column: str) -> None:
    for word in query._WORDS[column]:
        assert len(query.keep(FEW, f"{column} == {word}")) == (FEW[column] == word).sum()


@pytest.mark.parametrize("expression", ["level_steps == 50.0", "level_steps == 5e1", "level_lr < zebra"])
def test_levels_compare_as_they_did(expression: str) -> None:
    assert len(query.keep(FEW, expression)) > 0
