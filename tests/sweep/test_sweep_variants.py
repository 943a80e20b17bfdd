"""Variants: which there are, their labels and keys, against counting by hand and golden values."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.errors import ConfigError
from sweepkit.sweep.expand import variants
from sweepkit.sweep.file import SweepFile

FIELDS = ("optimizer.x0.lr", "optimizer.matrix.lr", "schedule.warmdown_ratio", "optimizer.resid.lr")


@st.composite
def sweeps(draw: st.DrawFn, combine: int | str | None = None) -> SweepFile:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axes = {
        FIELDS[number]: {f"l{level}": (f"{FIELDS[number]}=0.{level + 1}",) for level in range(size)}
        for number, size in enumerate(sizes)
    }
    named = draw(st.sets(st.sampled_from(sorted(axes))))
    chosen = combine or draw(st.sampled_from([1, 2, "all"]))
    return SweepFile(name="s", axes=axes, reference=dict.fromkeys(named, "l0"), combine=chosen)


@given(sweeps())
def test_one_reference_and_no_two_variants_alike(sweep: SweepFile) -> None:
    found = variants(sweep)
    assert found[0].is_reference
    assert found[0].label == "reference"
    assert sum(variant.is_reference for variant in found) == 1
    for attribute in ("label", "key", "overrides"):
        assert len({getattr(variant, attribute) for variant in found}) == len(found)


@given(sweeps())
def test_as_many_as_counted_by_hand(sweep: SweepFile) -> None:
    others = [len(levels) - (axis in sweep.reference) for axis, levels in sweep.axes.items()]
    singles = sum(others)
    pairs = sum(a * b for a, b in itertools.combinations(others, 2))
    expected = {1: 1 + singles, 2: 1 + singles + pairs, "all": math.prod(n + 1 for n in others)}
    assert len(variants(sweep)) == expected[sweep.combine]


@given(sweeps())
def test_a_label_names_what_differs_from_the_reference(sweep: SweepFile) -> None:
    for variant in variants(sweep)[1:]:
        changed = dict(part.split("=") for part in variant.label.split(","))
        for axis in sweep.axes:
            assert variant.levels.get(axis) == changed.get(axis, sweep.reference.get(axis))
        if sweep.combine != "all":
            assert len(changed) <= int(sweep.combine)


def test_golden_labels_and_keys() -> None:
    """Keys follow a variant up the ladder and across sweeps: they may never change."""
    sweep = SweepFile(
        name="s",
        axes={
            "x0_beta1": {"b80": ("optimizer.x0.beta1=0.80",), "b96": ("optimizer.x0.beta1=0.96",)},
            "rate": {"up": ("optimizer.matrix.lr=0.025", "optimizer.embedding.lr=0.4")},
        },
        reference={"x0_beta1": "b80"},
        combine=2,
    )
    assert [(variant.label, variant.key) for variant in variants(sweep)] == [
        ("reference", "4f53cda18c2b"),
        ("x0_beta1=b96", "850874c68aad"),
        ("rate=up", "40d5549b458c"),
        ("x0_beta1=b96,rate=up", "e31c50cc1b14"),
    ]


def test_keys_do_not_depend_on_spelling_names_or_order() -> None:
    def key(overrides: tuple[str, ...], level: str = "x") -> str:
        return variants(SweepFile(name="s", axes={"a": {level: overrides}}))[1].key

    assert key(("optimizer.x0.beta1=0.80", "optimizer.x0.lr=1e-1")) == key(
        ("optimizer.x0.lr=0.1", "optimizer.x0.beta1=0.8"), "other"
    )
    assert key(("optimizer.x0.lr=0.1",)) != key(("optimizer.x0.lr=0.2",))
    assert key(("model.depth=4",)) == key(("model.depth=4.0",))


def test_two_axes_of_one_variant_may_not_set_one_field() -> None:
    axes = {
        "a": {"x": ("optimizer.x0.lr=0.1",)},
        "b": {"y": ("optimizer.matrix.lr=0.1", "optimizer.x0.lr=0.2")},
    }
    assert len(variants(SweepFile(name="s", axes=axes))) == 3
    with pytest.raises(ConfigError, match=r"axes\.b\.y is 'optimizer\.x0\.lr=0\.2'.*axis a leaves alone"):
        variants(SweepFile(name="s", axes=axes, combine=2))
