"""RunConfig ↔ JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.config import codec
from sweepkit.config.compose import compose
from sweepkit.config.schema import RunConfig, RungConfig
from sweepkit.errors import ConfigError


@given(st.from_type(RunConfig))
def test_round_trip_of_anything_the_schema_allows(config: RunConfig) -> None:
    text = json.dumps(codec.to_json(config))
    # NaN is not equal to itself, its text is
    assert json.dumps(codec.to_json(codec.from_json(json.loads(text)))) == text


@pytest.mark.parametrize("overrides", [[], ["experiment=mini"], ["ladder=gpt2"], ["dataset=climbmix"]])
def test_round_trip_of_what_composes(overrides: list[str]) -> None:
    config = compose(overrides)
    assert codec.from_json(json.loads(json.dumps(codec.to_json(config)))) == config


def test_nothing_is_shared() -> None:
    config = compose(["ladder=mini"])
    value = codec.to_json(config)
    value["evaluation"]["streams"].append("x")
    value["ladder"]["rungs"][0]["overrides"].append("x")
    assert config.evaluation.streams == ["validation", "probe"]
    back = codec.from_json(codec.to_json(config))
    back.evaluation.streams.append("x")
    assert config.evaluation.streams == ["validation", "probe"]
    assert isinstance(back.ladder.rungs[0], RungConfig)


def test_unknown_fields_and_names_are_refused() -> None:
    value = codec.to_json(compose())
    value["model"]["wings"] = 2
    with pytest.raises(ConfigError, match=r"model\.wings"):
        codec.from_json(value)
    value = codec.to_json(compose())
    value["precision"]["dtype"] = "fp4"
    with pytest.raises(ConfigError, match=r"precision\.dtype.*auto, bf16, fp16, fp32, fp8"):
        codec.from_json(value)
