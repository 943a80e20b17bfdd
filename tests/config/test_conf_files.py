"""The files of conf/: all compose, each says what it is, none names code."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepkit.config import paths
from sweepkit.config.compose import compose
from sweepkit.config.groups import available
from sweepkit.plan.build import build

OPTIONS = [(group, name) for group, names in available(paths.conf_dir()).items() for name in names]
GROUPS = {
    "model": "d2 d4 d6 d8 d12 d16 d20 d24 d26",
    "dataset": "embedded files fineweb_edu climbmix fineweb finepdfs_mix dolma3 cosmopedia",
    "tokenizer": "bpe",
    "packing": "best_fit greedy_crop stream",
    "optimizer": "muon adamw lion",
    "schedule": "default",
    "precision": "auto bf16 fp16 fp32 fp8",
    "horizon": "param_data_ratio target_flops num_steps target_tokens",
    "evaluation": "default",
    "launcher": "inline local slurm",
    "logging": "disabled offline online",
    "ladder": "none demo mini gpt2",
    "experiment": "baseline mini",
}


@pytest.mark.parametrize(("group", "names"), GROUPS.items())
def test_promised_options_exist(group: str, names: str) -> None:
    assert set(names.split()) <= set(available(paths.conf_dir())[group])


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_option_plans(group: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a document\n\nanother\n")
    path = [f"dataset.path={tmp_path}"] if name == "files" else []
    plan = build(compose([f"{group}={name}", *path]))
    assert plan.num_steps > 0
    if group == "model":
        assert plan.depth == int(name[1:])


@pytest.mark.parametrize("horizon", ["target_flops", "num_steps", "target_tokens"])
def test_a_horizon_sets_one_length(horizon: str) -> None:
    config = compose([f"horizon={horizon}"]).horizon
    given = {
        name for name in ("target_flops", "num_steps", "target_tokens") if getattr(config, name) is not None
    }
    assert given == {horizon}


@pytest.mark.parametrize("ladder", ["demo", "mini", "gpt2"])
def test_every_rung_of_a_ladder_plans(ladder: str) -> None:
    found = compose([f"ladder={ladder}"]).ladder
    depths = [build(compose([*found.base, *rung.overrides])).depth for rung in found.rungs]
    assert depths == {"demo": [2, 3, 4], "mini": [2, 4, 6], "gpt2": [12, 20, 24]}[ladder]


def test_files_open_with_what_they_are_and_name_no_code() -> None:
    for path in paths.conf_dir().rglob("*.yaml"):
        lines = path.read_text().splitlines()
        comment = lines[1] if lines[0].startswith("# @package") else lines[0]
        assert comment.startswith("# ") and len(comment) > 10, path
        assert "_target_" not in path.read_text(), path
