"""Text as a parameter reaches the command as it is written, whatever it holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.config import override
from sweepkit.errors import ConfigError
from sweepkit.plan import command_words
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.sweep import command_keys, expand, file

Write = Callable[..., str]
ODD = [
    "a b", "it's", 'c "d"', "$HOME `q`", "e\nf", "üz", "[x]", "{{y}}", "g\\h", "\\", "k,l", "~m", "#n", "-5",
    " w ", "null",
]  # fmt: skip


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_text_in_quotes_reads_as_it_is(text: str) -> None:
    assert override.parse(f"t={command_keys.in_quotes(text)}").value == text
    assert override.parse(f"t={command_keys.quoted('t', text)}").value == text


def test_levels_and_rungs_of_text(write: Write, tmp_path: Path) -> None:
    more: dict[str, Any] = {"command": ["python3", "trainer.py", "{t}", "{u}", "{run_dir}", "{seed}"]}
    more |= {"params": {"t": "plain", "u": "plain"}, "seeds": [1]}
    more |= {"axes": {"t": ODD}, "ladder": {"low": {"u": "plain"}, "high": {"u": "it's {x}\\"}}}
    cells = expand.expand_all(file.load(write(**more)))
    folder = tmp_path / "a run"
    words = [
        command_words.words(cell.plan, folder)[2:5] for cell in cells if isinstance(cell.plan, CommandPlan)
    ]
    assert sorted(words) == sorted(
        [t, u, str(folder)] for t in ["plain", *ODD] for u in ("plain", "it's {x}\\")
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"params": {"depth": 1, "lr": math.nan, "steps": 5}}, r"params\.lr is nan, but must be"),
        ({"ladder": {"a": {"lr": math.inf}}, "axes": {"steps": [1]}}, r"ladder\.a\.lr is inf, but must be"),
        ({"ladder": {"a": {"width": 3}}}, "params has no width"),
        ({"axes": {"lr": [0.2, "0.2"]}}, "hold 0.2 only once"),
        ({"command": ["python3", "trainer.py", "{depth}{lr}{steps}{seed}", "a\0b"]}, "hold no zero byte"),
    ],
)  # fmt: skip
def test_what_is_no_parameter_is_refused(more: dict[str, Any], said: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=said):
        expand.expand_all(file.load(write(**more)))
