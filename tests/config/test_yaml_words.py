"""What YAML 1.1 reads as another value than people do: read as people do, or refused in a line."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweepkit.config import paths, slurm_time, yaml_words
from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError

WORDS = st.text("0123456789_.:+-eExob", min_size=1, max_size=8) | st.sampled_from(
    [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "n",
        "null",
        "~",
        "true",
        "False",
        "2024-01-01",
        ".inf",
        "-.INF",
        ".NaN",
        "1e3",
    ]
)


@given(WORDS)
def test_a_number_is_what_python_says_or_it_is_text(word: str) -> None:
    """The reference is Python's own reading of decimal numbers."""
    try:
        found = yaml_words.read(f"[{word}]")[0]
    except (yaml.YAMLError, TypeError):
        return
    if isinstance(found, bool) or found is None:
        assert word.lower() in ("true", "false", "null", "~", "")
    elif isinstance(found, int | float):
        plain = word.lower().replace(".inf", "inf").replace(".nan", "nan")
        based = int(word, 0) if word.lower().lstrip("+-").startswith(("0x", "0o")) else float(plain)
        assert found == based or math.isnan(found)
    elif isinstance(found, str):
        assert found == word


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    mine = tmp_path / "conf"
    shutil.copytree(paths.conf_dir(), mine)
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(mine))
    return mine


@pytest.mark.parametrize(
    ("folder", "line", "message"),
    [
        ("launcher", "slurm: {time_min: 4:00:00}", "launcher.slurm.time_min is '4:00:00'.*makes it 14400"),
        ("launcher", "slurm: {partition: off}", 'launcher.slurm.partition is .*False; write "off" in quotes'),
        ("launcher", "slurm: {account: 0123}", "launcher.slurm.account is '0123'.*83; .*in quotes"),
        ("launcher", "slurm: {setup: [module load x, 1.50]}", "launcher.slurm.setup is '1.50'"),
        ("model", "depth: 010", "line 2: model.depth is '010'.*makes it 8; write 10"),
        ("model", "depth: 1:30", "model.depth is '1:30'.*makes it 90"),
        ("dataset", "revision: 77e0912", "dataset.revision is '77e0912'.*inf; write .* in quotes"),
        ("dataset", "name: 1e-3", "dataset.name is '1e-3'"),
        ("dataset", "sources: [books, 12e4]", "dataset.sources is '12e4'"),
        ("optimizer", "x0: {lr: 1e-3}", None),
        ("trainer", "compile: 2", "trainer.compile is '2'.*write true or false"),
        ("trainer", "compile: 0x1F", "trainer.compile"),
        ("trainer", "compile: 1", None),
        ("dataset", "revision: 1.0e+3", "dataset.revision"),
        ("ladder", "rungs: [{name: a, num_seeds: 010}]", "ladder.rungs.num_seeds is '010'"),
        ("ladder", "rungs: [{name: no}]", "ladder.rungs.name is 'no'"),
        ("experiment", "horizon: {num_steps: 0_10}", "experiment.*horizon.num_steps"),
        ("model", "smear: off", None),
        ("model", "depth: 1_0", None),
    ],
)  # fmt: skip
def test_words_in_hydras_files(own_conf: Path, folder: str, line: str, message: str | None) -> None:
    head = "# @package _global_" if folder == "experiment" else "# Mine."
    (own_conf / folder / "mine.yaml").write_text(f"{head}\n{line}\n")
    if message is None:
        compose()
        return
    with pytest.raises(ConfigError, match=message):
        compose()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("090", 90), ("4:30", 5), ("4:00:00", 240), ("0:00:01", 1), ("1-0", 1440), ("1-12", 2160),
        ("1-12:30", 2190), ("2-00:00:30", 2881), ("100:00:00", 6000),
    ],
)  # fmt: skip
def test_times_as_slurm_writes_them(own_conf: Path, text: str, minutes: int) -> None:
    assert slurm_time.minutes(text) == minutes
    (own_conf / "launcher" / "mine.yaml").write_text(f'# Mine.\nslurm: {{time_min: "{text}"}}\n')
    assert compose([f"launcher.slurm.time_min='{text}'"]).launcher.slurm.time_min == minutes
    assert compose([f"launcher.slurm.time_min={text}"]).launcher.slurm.time_min == minutes
    assert compose(["launcher=mine"]).launcher.slurm.time_min == minutes


@pytest.mark.parametrize("text", ["4h", "1:2:3:4", "-5", "1-", "UNLIMITED", "1.5", "0", "0:00", ""])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="time_min"):
        compose([f"launcher.slurm.time_min='{text}'"])


@pytest.mark.parametrize("word", ["2", "-1", "10", "1_0"])
def test_a_number_is_no_switch(word: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.compile is .*, but must be true or false"):
        compose([f"trainer.compile={word}"])
    assert compose(["trainer.compile=0"]).trainer.compile is False
