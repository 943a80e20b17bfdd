"""Levels as multiples of the reference's, against the same numbers written out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.errors import ConfigError
from sweepkit.sweep import expand, relative
from sweepkit.sweep.file import SweepFile

BASE = ("experiment=mini", "model=d2", "optimizer.matrix.lr=0.016")


def sweep(levels: list[object], key: str = "optimizer.matrix.lr") -> SweepFile:
    content = {"name": "made_up", "base": list(BASE), "axes": {key: levels}, "seeds": [1]}
    return SweepFile.from_json(content)


@settings(max_examples=15)
@given(st.integers(1, 4000).filter(lambda thousandths: thousandths != 1000))
def test_a_multiple_is_that_times_what_the_reference_has(thousandths: int) -> None:
    found = relative.resolved(sweep([f"{thousandths / 1000}x"]))
    (item,) = next(iter(found.axes["optimizer.matrix.lr"].values()))
    assert float(item.partition("=")[2]) == pytest.approx(0.016 * thousandths / 1000, rel=1e-11)


def test_it_is_the_run_that_the_number_gives_and_keeps_its_label() -> None:
    plain = expand.expand_all(sweep([0.008]))
    found = expand.expand_all(relative.resolved(sweep(["0.5x"])))
    assert [cell.plan.run_id for cell in found] == [cell.plan.run_id for cell in plain]
    assert found[-1].variant == "optimizer.matrix.lr=0.5x"


@pytest.mark.parametrize("key", ["packing.algorithm", "optimizer.matrix.cautious_weight_decay", "no.such"])
def test_only_numbers_have_multiples(key: str) -> None:
    with pytest.raises(ConfigError, match="multiple of a number"):
        relative.resolved(sweep(["2x"], key))
