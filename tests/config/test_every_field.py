"""Every field of the schema changes the keys of a run that its marks say, and no others.

A field that something reads is set to other values of its type; a field that nothing reads under the values
of others changes no key. What the test adds to a copy of the schema, without a mark, is in the identity.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweepkit
from sweepkit.config import identity, schema
from sweepkit.config.compose import apply, compose
from sweepkit.config.facts import Facts, Identity, declared, fact, fields_of, spelled, when
from sweepkit.config.schema import RunConfig
from sweepkit.errors import SweepkitError
from sweepkit.plan import build as building
from sweepkit.plan.build import build
from sweepkit.plan.resolution import scored_bytes
from sweepkit.plan.run_plan import RunPlan

FIELDS = fields_of(RunConfig)
KEYS = ("run_id", "variant_id", "training_id", "evaluation_key", "pair_key", "compile_key")
FOLDER = ("dataset=files", "dataset.path=one")
OWN_VALIDATION = (*FOLDER, "dataset.validation_path=two")
PLAIN = ("dataset=files", "dataset.path=four")
HUB = ("dataset=climbmix", f"dataset.revision={'1' * 40}")
#: Every field is read in one of these configurations, and every field with a condition is not in another.
BASES: tuple[tuple[str, ...], ...] = (
    (),
    HUB,
    FOLDER,
    OWN_VALIDATION,
    PLAIN,
    ("precision=fp8",),
    ("optimizer=adamw",),
    ("schedule=short",),
    ("horizon=num_steps", "horizon.num_steps=77"),
    ("model=d20",),
    ("model.depth=1", "model.aspect_ratio=128"),
    ("model.smear=false",),
    ("model.experts.num_routed=4", "model.bigram.table_ratio=2", "model.multi_token.num_further=2"),
    ("model.experts.num_routed=4", "model.experts.balance=loss"),
    ("model.smear=false", "model.backout=false"),
    ("model.value_embeddings=false",),
    ("model.value_embeddings=false", "model.smear=false"),
    ("packing=stream",),
    ("schedule.warmdown_ratio=0",),
    ("schedule.momentum_warmup_steps=0",),
    ("optimizer.matrix.weight_decay=0",),
    ("launcher.processes_per_run=8",),
    ("code=tree_0123456789abcdef",),
    ("evaluation=core",),
)
#: Other values, where those by type are all refused, or do not come out as anything else.
ALSO = {
    "dataset.kind": ["dataset=fineweb", "dataset=climbmix"],
    "code": ["code=tree_fedcba9876543210"],
    "dataset.repo": ["dataset.repo=a/b"],
    "dataset.path": ["dataset.path=two"],
    "dataset.validation_path": ["dataset.validation_path=two"],
    "evaluation.core.bundle": ["evaluation.core.bundle=three"],
    "evaluation.core.tasks": ["evaluation.core.tasks=[endings]"],
    "evaluation.core.sha256": [f"evaluation.core.sha256={'1' * 64}"],
    "dataset.revision": [f"dataset.revision={'2' * 40}"],
    "horizon.target_tokens": ["horizon.target_tokens=100000000"],
    "horizon.total_batch_size": ["horizon.total_batch_size=1048576"],
    "horizon.batch_exponent": ["horizon.batch_exponent=0.9"],
    "ladder.rungs": ["ladder=gpt2"],
    "schedule.batch_ramp": ["schedule.batch_ramp=[2,1]"],
    "ladder.reference_horizons": ["ladder.reference_horizons=[0.5]"],
}
#: What comes out as the size of a text, or of a bundle's largest task, where it is more.
AT_MOST_ALL = {"evaluation.max_bytes", "evaluation.core.max_per_task"}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of text, ``one``, ``two`` and, plain, ``four``, and a bundle, ``three``, in the working one."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(name).mkdir()
        pq.write_table(pa.table({"text": [f"a {name}", "b"]}), f"{name}/a.parquet")
    Path("four").mkdir()
    for name in "abc":
        Path(f"four/{name}.txt").write_text(f"{name}\n\nand more\n")
    shutil.copytree(Path(sweepkit.__file__).parent / "data" / "core", "three")
    Path("three/eval_meta_data.csv").write_text(
        "Eval Task,Random baseline\nendings,20\nbeginnings,50\nnext_word,0\n"
    )


def others(key: str) -> list[str]:
    """Overrides with other values, some of which the contract may refuse."""
    field = FIELDS[key]
    found = [value for kind in field.kinds for value in _others(kind, field.default)]
    return [f"{key}={value}" for value in found] + ALSO.get(key, [])


def _others(kind: Any, default: Any) -> list[Any]:
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


@cache
def built(*overrides: str) -> RunPlan | None:
    try:
        return build(compose(overrides))
    except SweepkitError:
        return None


@cache
def plain_config(base: tuple[str, ...]) -> RunConfig:
    config = compose(base)
    if config.model.backout is None:
        config.model.backout = config.model.depth > 2  # what null comes out as
    return config


def is_read(key: str, base: tuple[str, ...]) -> bool:
    return FIELDS[key].is_read(lambda other: attrgetter(other)(plain_config(base)))


def marked(facts: Facts) -> set[str]:
    """The keys that a field with these facts is in."""
    is_trained = facts.identity in (Identity.configured, Identity.resolved)
    found = {"variant_id", "run_id"} if is_trained else set()
    found |= {"evaluation_key"} if facts.identity is Identity.evaluation else set()
    found |= {"training_id"} if is_trained and not facts.same_training else set()
    found |= {"run_id"} if facts.identity is Identity.replicate else set()
    return found | ({"pair_key"} if facts.data else set()) | ({"compile_key"} if facts.traced else set())


def changes(key: str, base: tuple[str, ...]) -> Iterator[tuple[str, set[str], set[str]]]:
    """Override, the keys that it changes, and those of what followed it; of the values allowed."""
    plain = built(*base)
    assert plain is not None
    written = attrgetter(key)(plain.config)
    as_it_is = {f"{key}={written}", f"{key}={spelled(written)}"}
    for override in others(key):
        other = None if override in as_it_is else built(*base, override)
        if other is not None:
            followed = {"pair_key"} if other.total_batch_size != plain.total_batch_size else set()
            followed |= {"compile_key"} if other.device_batch_size != plain.device_batch_size else set()
            if scored_bytes(other.config) != scored_bytes(plain.config):  # another text may be shorter
                followed |= {"evaluation_key"}
            yield override, {name for name in KEYS if getattr(other, name) != getattr(plain, name)}, followed


@pytest.mark.parametrize("key", FIELDS)
def test_a_field_changes_the_keys_that_its_marks_say(key: str) -> None:
    facts, is_tried = FIELDS[key].facts, False
    for base in BASES:
        if not is_read(key, base):
            continue
        for override, changed, followed in changes(key, base):
            expected = marked(facts) | (followed if marked(facts) else set())
            if (facts.identity is Identity.resolved or key in AT_MOST_ALL) and not changed:
                continue  # it comes out as before
            assert changed == expected, (base, override)
            is_tried = True
        if is_tried:
            return
    pytest.fail(f"no other value of {key} is allowed in any configuration here; add one")


#: Read where it is set, and by nothing else.
BY_ITSELF = {"code"}


@pytest.mark.parametrize(
    "key", [key for key, field in FIELDS.items() if field.facts.when and key not in BY_ITSELF]
)
def test_a_field_that_nothing_reads_changes_no_key(key: str) -> None:
    unread = [base for base in BASES if not is_read(key, base)]
    assert unread, f"{key} is read in all configurations here; add one in which it is not"
    for base in unread:
        for override, changed, _ in changes(key, base):
            if override.startswith(f"{key}=") and not is_read(key, (*base, override)):
                assert changed == set(), (base, override)


def test_what_can_end_a_run_is_inside_or_a_limit() -> None:
    """Diverging counts against a variant, so where it begins is in the name of a run."""
    assert "variant_id" in marked(FIELDS["trainer.max_loss_ratio"].facts)
    assert {key for key, field in FIELDS.items() if field.facts.limit} == {
        "launcher.max_attempts",
        "launcher.slurm.mem_gib",
        "launcher.slurm.time_min",
        "launcher.slurm.time_margin",
        "launcher.slurm.max_requeues",
    }


def test_what_tells_a_run_from_its_training() -> None:
    """When it is looked at and counts as diverged, the cut of a step, and what only rounding would do."""
    found = {
        key
        for key, field in FIELDS.items()
        if "variant_id" in marked(field.facts) and "training_id" not in marked(field.facts)
    }
    assert found == {
        "evaluation.every_steps", "trainer.max_loss_ratio", "horizon.device_batch_size",
        "model.init_moved_by", "tokenizer.max_train_bytes",
    }  # fmt: skip


def test_what_the_plan_resolves_stands_for_some_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be in no key."""
    seen: set[str] = set()

    def keys(config: RunConfig, resolved: dict[str, Any]) -> identity.Keys:
        seen.update(resolved)
        return identity.Keys("a", "b", "c", "d", "e")

    monkeypatch.setattr(building.identity, "keys", keys)
    for base in (*BASES, ("tokenizer=shared", *HUB)):
        build(compose(base))
    named = {name for field in FIELDS.values() for name in (field.key, *field.facts.comes_out_as)}
    assert len(seen) > 20 and seen <= named
    kinds = (Identity.resolved, Identity.evaluation)
    resolved = {key for key, field in FIELDS.items() if field.facts.identity in kinds}
    assert named - FIELDS.keys() <= seen, "named by a field, and never resolved"
    assert seen & FIELDS.keys() <= resolved


@dataclass
class Part:
    strength: float = 0.5
    names: list[str] = dataclasses.field(default_factory=list)


@dataclass
class Wider(RunConfig):
    """The schema with a scalar and a block that nobody marked."""

    scalar: int = 3
    part: Part = dataclasses.field(default_factory=Part)


@pytest.mark.parametrize("other", [{"scalar": 4}, {"part": Part(strength=0.6)}, {"part": Part(names=["a"])}])
def test_what_is_added_to_the_schema_is_in_the_identity(other: dict[str, Any]) -> None:
    config = Wider(**vars(compose()))
    plain, changed = build(config), build(dataclasses.replace(config, **other))
    assert plain.variant_id != build(compose()).variant_id
    assert {key for key in KEYS if getattr(plain, key) != getattr(changed, key)} == {
        "run_id", "variant_id", "training_id",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "traced", "data", "same_training"),
    list(itertools.product(Identity, (False, True), (False, True), (False, True))),
)
def test_marks_are_independent(kind: Identity, traced: bool, data: bool, same_training: bool) -> None:
    marks = {"identity": kind, "traced": traced, "data": data, "same_training": same_training, "why": "so"}

    @dataclass
    class One:
        switch: bool = fact(True, "whether value is read", identity=Identity.none, why="a switch of the test")
        value: int = fact(1, "the field", when=when("switch", True), **marks)  # type: ignore[arg-type]

    def differing(plain: One, other: One, resolved: dict[str, Any]) -> set[str]:
        found = [vars(identity.keys(each, resolved)) for each in (plain, other)]  # type: ignore[arg-type]
        return {key for key in found[0] if found[0][key] != found[1][key]}

    expected = marked(declared(dataclasses.fields(One)[1])) - {"run_id"}
    is_resolved = kind is Identity.resolved
    assert differing(One(), One(value=2), {}) == (set() if is_resolved else expected)
    assert differing(One(), One(value=2), {"value": 7}) == set(), "stands as what it comes out as"
    assert differing(One(switch=False), One(switch=False, value=2), {}) == set(), "it is not read"


def test_every_field_says_what_it_is() -> None:
    missing = [key for key, field in FIELDS.items() if not field.facts.help]
    missing += [
        key
        for key, field in FIELDS.items()
        if {int, float} & set(field.kinds) and bool not in field.kinds and field.facts.range is None
    ]
    missing += [
        key for key, field in FIELDS.items() if field.facts.identity is Identity.none and not field.facts.why
    ]
    assert missing == []


@pytest.mark.slow
def test_every_default_and_example_is_in_its_range() -> None:
    for key, field in FIELDS.items():
        limits = field.facts.range
        if limits is not None:
            limits.check(key, field.default, field.example)
            if "{example}" in limits.remedy:
                config = apply(RunConfig(), [f"{key}={field.example.split(' ')[0]}"])
                limits.check(key, attrgetter(key)(config), field.example)


def test_every_block_says_what_it_is() -> None:
    def walk(kind: type) -> Iterator[str]:
        hints = typing.get_type_hints(kind)
        for item in dataclasses.fields(kind):
            if dataclasses.is_dataclass(hints[item.name]):
                yield from [] if declared(item).help else [f"{kind.__name__}.{item.name}"]
                yield from walk(hints[item.name])

    assert list(walk(RunConfig)) == []
    rungs = fields_of(schema.RungConfig)
    assert all(field.facts.help for field in rungs.values())
