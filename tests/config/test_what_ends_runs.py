"""Every field of the schema is in a run's identity or marked as outside, and what can end a run is known."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import sweepkit
from sweepkit.config import schema
from sweepkit.config.compose import compose
from sweepkit.config.schema import RunConfig
from sweepkit.errors import SweepkitError
from sweepkit.plan.build import build

HUB = ("dataset=climbmix",)
CORPUS = Path(sweepkit.__file__).parent / "data" / "corpus"  # a folder of parquet files like any other
FOLDER = ("dataset=parquet_folder", f"dataset.path={CORPUS}")
#: Configurations in which every field that a run is computed from is read by something.
BASES = (
    (),
    HUB,
    FOLDER,
    ("precision=fp8",),
    ("optimizer=adamw",),
    ("horizon=num_steps", "horizon.num_steps=77"),
    ("model=d20",),
    ("model.depth=2", "model.aspect_ratio=32"),
)
#: Read by nothing that a run is named after, and by no verdict: what it is called, or where it lies.
NAMES = {"dataset.name", "dataset.path", "tokenizer.name", "precision.fp8.allow_eager"}
#: Other values where those by type are all refused or rounded away.
ALSO = {
    "dataset.kind": ["dataset=fineweb"],
    "dataset.repo": ["dataset.repo=a/b"],
    "horizon.target_tokens": ["horizon.target_tokens=100000000"],
    "horizon.total_batch_size": ["horizon.total_batch_size=1048576"],
    "horizon.batch_exponent": ["horizon.batch_exponent=0.9"],
}


def leaves(cls: type, prefix: str = "", outside: bool = False) -> Iterator[tuple[str, Any, Any, bool]]:
    """Dotted name, type, default and whether it is marked as outside, of every field."""
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        is_outside = not item.metadata.get("identity", not outside)
        default = item.default_factory() if callable(item.default_factory) else item.default
        if dataclasses.is_dataclass(default):
            yield from leaves(type(default), f"{prefix}{item.name}.", is_outside)
        else:
            yield f"{prefix}{item.name}", hints[item.name], default, is_outside


LEAVES = {name: rest for name, *rest in leaves(RunConfig)}


def others(kind: Any, default: Any) -> list[Any]:
    """Values that differ from the default, some of which the contract may refuse."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [value for part in typing.get_args(kind) for value in others(part, default)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [item.name for item in kind if item is not default]
    if kind is bool:
        return [str(value).lower() for value in (True, False) if value is not default]
    if kind is int:
        start = default if isinstance(default, int) else 4
        return [start + 1, start * 2, max(1, start // 2), 1024]
    if kind is float:
        start = default if isinstance(default, float) else 0.3
        return [start * 0.9, start + 0.01, start * 1e18]
    return ["SL", "abc", "[validation]", "[encyclopedia]"]


def built(base: tuple[str, ...], *changes: str) -> Any:
    try:
        return build(compose([*base, *changes]))
    except SweepkitError:
        return None


def changes_the_id(name: str) -> tuple[bool, bool]:
    """Whether some other value of the field is allowed, and whether one of them gives another id."""
    kind, default, _ = LEAVES[name]
    found = []
    for base in BASES:
        plain = built(base)
        for change in [f"{name}={value}" for value in others(kind, default)] + ALSO.get(name, []):
            changed = built(base, change)
            if changed is not None:
                found.append(changed.variant_id != plain.variant_id)
            if any(found):
                return True, True
    return bool(found), any(found)


@pytest.mark.parametrize("name", [name for name in LEAVES if not name.startswith("ladder.")])
def test_every_field_is_inside_or_marked(name: str) -> None:
    is_tried, is_inside = changes_the_id(name)
    is_marked = LEAVES[name][2]
    if name in NAMES:
        assert not is_marked
    elif is_tried:
        assert is_inside != is_marked, f"{name} is {'in' if is_inside else 'outside'} the identity"
    else:
        pytest.fail(f"no other value of {name} is allowed in any configuration here; add one")


def test_what_can_end_a_run_is_inside_or_a_limit() -> None:
    """Diverging counts against a variant, so where it begins is in the name of a run."""
    assert changes_the_id("trainer.max_loss_ratio") == (True, True)
    limits = {
        f"{block}{item.name}"
        for cls, block in ((schema.LauncherConfig, "launcher."), (schema.SlurmConfig, "launcher.slurm."))
        for item in dataclasses.fields(cls)
        if item.metadata.get("limit")
    }
    assert limits == {
        "launcher.max_attempts",
        "launcher.slurm.mem_gib",
        "launcher.slurm.time_min",
        "launcher.slurm.time_margin",
        "launcher.slurm.max_requeues",
    }


def test_the_training_alone_has_a_name_of_its_own() -> None:
    """Another evaluation, limit of divergence or micro-batch is another run, and the same training."""
    plain = built(())
    for change in ("evaluation.every_steps=17", "trainer.max_loss_ratio=9", "horizon.device_batch_size=16"):
        other = built((), change)
        assert other.variant_id != plain.variant_id
        assert other.training_id == plain.training_id
    for change in (
        "optimizer.matrix.lr=0.03",
        "horizon.num_steps=9",
        "model=d4",
        "tokenizer.vocab_size=4096",
    ):
        assert built((), change).training_id != plain.training_id
    assert built((), "seed=7").training_id == plain.training_id
