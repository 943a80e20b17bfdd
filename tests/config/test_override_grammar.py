"""The short cut for plain overrides agrees with Hydra's grammar."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.config.override import parse

PARSER = OverridesParser.create()
WORDS = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
    st.sampled_from(
        ["true", "True", "FALSE", "null", "NULL", "nan", "inf", "NaN", "none", "e5", "d12", "auto"]
    ),
)
NUMBERS = st.from_regex(r"[-+]?[0-9]{1,4}(\.[0-9]{1,3})?(e[-+]?[0-9])?", fullmatch=True)


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and (repr(left) == repr(right))


@pytest.mark.slow
@given(key=st.sampled_from(["seed", "model.depth", "optimizer.x0.lr"]), text=st.one_of(WORDS, NUMBERS))
def test_agrees_with_hydra(key: str, text: str) -> None:
    expected = PARSER.parse_override(f"{key}={text}")
    found = parse(f"{key}={text}")
    assert found.key == expected.key_or_group
    assert _same(found.value, expected.value())
