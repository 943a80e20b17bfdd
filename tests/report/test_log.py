"""docs/log.md is what the committed folders and the paragraphs by hand give."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

import from_scripts


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return from_scripts.script("log")


@pytest.mark.slow
def test_the_log_is_what_is_committed_newest_first(script: ModuleType) -> None:
    text = script.PAGE.read_text()
    assert text == script.page(script.PUBLISHED), "run: python scripts/log.py"
    dates = re.findall(r"^## (\d{4}-\d\d-\d\d) · ", text, re.MULTILINE)
    assert dates == sorted(dates, reverse=True) and len(dates) >= 4


def test_a_paragraph_goes_with_a_committed_sweep_and_a_sweep_with_a_paragraph(
    script: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "log.yaml").write_text("tune_mini: what was learned\n")
    with pytest.raises(ValueError, match="tune_mini has no committed sweep"):
        script.page(tmp_path)
    for name in ("tune_mini", "new"):
        (tmp_path / name).mkdir()
        shutil.copy(script.PUBLISHED / "tune_mini" / "promotion.json", tmp_path / name)
    with pytest.raises(ValueError, match="new is a committed sweep without a paragraph"):
        script.page(tmp_path)
