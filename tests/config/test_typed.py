"""The loader: every dataclass that a file holds survives it, and every wrong value is refused by its name."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.analysis.calibration import Calibration
from sweepkit.config import facts, typed
from sweepkit.config.compose import compose
from sweepkit.config.schema import RunConfig, RungConfig
from sweepkit.errors import ConfigError
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.process import ProcessId
from sweepkit.launch.worker import Head
from sweepkit.sweep import file
from sweepkit.sweep.decision import DecisionRule, Demands, Margins
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.pruning_rule import PruningRule
from sweepkit.sweep.search_space import Choices, Interval
from sweepkit.sweep.search_spec import SearchSpec
from sweepkit.sweep.seen import Judgement, Seen
from sweepkit.training.clock import Clock

#: Without rules across fields: any values of their types will do.
PLAIN = [Calibration, ClaimInfo, Head, Judgement, Clock]
#: A valid content for each of the others.
RULED: dict[type, dict[str, Any]] = {
    DecisionRule: {},
    Demands: {},
    Margins: {},
    PruningRule: {"kind": "sigma"},
    Interval: {"low": 1.0, "high": 2.0},
    Choices: {"choices": [1, "a"]},
    SearchSpec: {"space": {"optimizer.matrix.lr": {"low": 0.1, "high": 1.0}}},
    RungConfig: {},
    Seen: {"runs": ["a"], "replaced": {"1": 2}, "judged": []},
    RunConfig: {},
    SweepFile: {"name": "s", "axes": {"a": {"x": ["optimizer.x0.lr=0.1"]}}},
}
#: One of every kind that YAML knows; no field takes all of them.
VALUES = [None, True, 3, 2.5, "wrong words", [[]], [None], {"a": {"b": []}}, {3: "c"}]
NUMBERS = [-(10**30), -1e30, -1, -0.5, 0, 0.0, 0.5, 1, 1.0, 2, 3, 16, 17.5, 2**62, 1e30, math.inf, math.nan]


def fields(kind: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if facts.declared(item).is_written:
            yield item, hints[item.name]


def valid(kind: type) -> dict[str, Any]:
    """A content that loads, plain values only."""
    if kind in RULED:
        return dict(RULED[kind])
    made = {
        Calibration: Calibration(2, "d", "bf16", "cpu", 10, "val_bpb", 0.1, 4, "now", ("a",)),
        Judgement: Judgement("s", "r", 0.05, "val_bpb"),
        Clock: Clock(3),
        RungConfig: RungConfig(),
        RunConfig: RunConfig(),
        Seen: Seen(("a",), {1: 2}, (Judgement("s", "r", 0.05, "val_bpb"),)),
    }.get(kind)
    if made is None:
        process = {"host": "h", "boot_id": "b", "namespace": "n", "pid": 1, "started": "1"}
        claim = {"token": "t", "driver": "d", "attempt": 1, "deaths": 0, "claimed_at": "now"}
        head = {"driver": "d", "results_dir": "/r", "max_attempts": 3}
        return {**claim, "process": process} if kind is ClaimInfo else {**head, "driver_process": process}
    content: dict[str, Any] = typed.dump(made)
    return content


ALL = [*PLAIN, *RULED]
FIELDS = [(kind, item.name) for kind in ALL for item, _ in fields(kind)]


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
def test_anything_of_the_right_types_survives(kind: type) -> None:
    finite = {float: st.floats(allow_nan=False, allow_infinity=False), int: st.integers(-(2**70), 2**70)}
    for plain, strategy in finite.items():
        st.register_type_strategy(plain, strategy)
    st.register_type_strategy(ProcessId, st.builds(ProcessId, pid=st.integers(1, 2**62)))

    @settings(max_examples=40, deadline=None)
    @given(st.from_type(kind))
    def survives(value: Any) -> None:
        unwritten = {item.name: item for item in dataclasses.fields(kind)}
        for item, _ in fields(kind):
            del unwritten[item.name]
        text = json.dumps(typed.dump(value), allow_nan=False)
        again = typed.load(kind, json.loads(text))
        kept = {name: getattr(value, name) for name in unwritten}
        assert (dataclasses.replace(again, **kept) if kept else again) == value

    survives()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_what_was_loaded_survives(kind: type) -> None:
    found = typed.load(kind, valid(kind))
    assert typed.load(kind, json.loads(json.dumps(typed.dump(found)))) == found


@pytest.mark.parametrize("name", file.available())
def test_shipped_sweeps_survive(name: str) -> None:
    sweep = file.load(name)
    if sweep.seeds:
        assert SweepFile.from_json(json.loads(json.dumps(typed.dump(sweep)))) == sweep


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda it: it if isinstance(it, str) else it.__name__)
def test_every_field_takes_its_type_or_is_refused_by_name(kind: type, name: str) -> None:
    """What is accepted stands there as it was written; what is not is refused in one line, by its name."""
    where, hint = "top.block", typing.get_type_hints(kind)[name]
    item = next(item for item, _ in fields(kind) if item.name == name)
    num_refused = 0
    for value in VALUES:
        try:
            found = typed.load(kind, valid(kind) | {name: value}, where)
        except ConfigError as error:
            said = str(error)
            own = f"{where}.{name}" if f"{where}.{name}" in said else name  # rules say their own place
            assert own in said.partition(" is ")[0]
            assert "but must" in said and "; " in said and "\n" not in said
            num_refused += 1
            continue
        if facts.declared(item).read is None:
            written = typed.dump(getattr(found, name))
            assert written == value or isinstance(value, dict | list)
            if not isinstance(value, dict | list):
                assert type(written) is type(value) or (type(value) is int and type(written) is float)
        if value is None:
            assert type(None) in typing.get_args(hint) or facts.declared(item).read is not None
    assert num_refused >= 3


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_unknown_keys_are_refused_with_the_one_that_was_meant(kind: type) -> None:
    for item, _ in fields(kind):
        wrong = f"{item.name}_"
        with pytest.raises(ConfigError) as error:
            typed.load(kind, valid(kind) | {wrong: 3}, "top")
        assert f"top.{wrong} is 3, but must be a known key; did you mean '{item.name}'?" == str(error.value)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_what_has_no_default_must_be_given(kind: type) -> None:
    for item, _ in fields(kind):
        if item.default is item.default_factory is dataclasses.MISSING:
            content = valid(kind)
            del content[item.name]
            with pytest.raises(ConfigError, match=rf"^top\.{item.name} is None, but must be given; write"):
                typed.load(kind, content, "top")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_range_is_checked(kind: type) -> None:
    """With the words of the range, for numbers of the field's type that it does not hold."""
    for item, hint in fields(kind):
        limits, kinds = facts.declared(item).range, facts.alternatives(hint)
        for number in NUMBERS if limits and {int, float} & set(kinds) else ():
            assert limits is not None
            if type(number) not in kinds and float not in kinds:
                continue
            fits = abs(number) < 2**63 or (float in kinds and type(number) is float)
            if fits and limits.holds(float(number) if int not in kinds else number):
                continue
            with pytest.raises(ConfigError) as error:
                typed.load(kind, valid(kind) | {item.name: number}, "top")
            assert str(error.value).startswith(f"top.{item.name} is ")
            words = limits.contract.removeprefix("be ")
            assert words in str(error.value) or "64 bits" in str(error.value)


@pytest.mark.parametrize("overrides", [[], ["experiment=mini"], ["ladder=gpt2"], ["dataset=climbmix"]])
def test_round_trip_of_what_composes(overrides: list[str]) -> None:
    config = compose(overrides)
    assert typed.load(RunConfig, json.loads(json.dumps(typed.dump(config)))) == config


def test_nothing_is_shared() -> None:
    config = compose(["ladder=mini"])
    value = typed.dump(config)
    value["evaluation"]["streams"].append("x")
    value["ladder"]["rungs"][0]["overrides"].append("x")
    assert config.evaluation.streams == ["validation", "probe"]
    back = typed.load(RunConfig, typed.dump(config))
    back.evaluation.streams.append("x")
    assert config.evaluation.streams == ["validation", "probe"]
    assert isinstance(back.ladder.rungs[0], RungConfig)


def test_many_alike_are_what_each_is_alone() -> None:
    composed = [
        compose([f"seed={seed}", f"optimizer.matrix.lr={lr}"]) for lr in (0.1, 0.2) for seed in (1, 2)
    ]
    values = [typed.dump(config) for config in composed]
    found = typed.load_alike(RunConfig, values)
    assert found == composed == [typed.load(RunConfig, value) for value in values]
    assert found[0].model is found[3].model and found[0].optimizer is found[1].optimizer
    assert typed.load(RunConfig, values[0]).model is not found[0].model
    values[2]["optimizer"]["matrix"]["lr"] = "fast"
    with pytest.raises(ConfigError, match=r"^optimizer\.matrix\.lr is 'fast'"):
        typed.load_alike(RunConfig, values)


def test_places_within_are_named() -> None:
    value = typed.dump(compose(["ladder=mini"]))
    value["ladder"]["rungs"][1]["num_seeds"] = "two"
    with pytest.raises(
        ConfigError, match=r"^ladder\.rungs\.1\.num_seeds is 'two', but must be a whole number"
    ):
        typed.load(RunConfig, value)
    value = typed.dump(compose())
    value["precision"]["dtype"] = "fp4"
    with pytest.raises(ConfigError, match=r"precision\.dtype.*auto, bf16, fp16, fp32, fp8.*did you mean"):
        typed.load(RunConfig, value)
