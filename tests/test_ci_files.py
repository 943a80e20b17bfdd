"""The workflow of the public CI and the pre-commit configuration call make targets that there are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

import sample

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):(?! export)", MAKEFILE, re.MULTILINE))


def called(commands: list[str]) -> set[str]:
    """What lines of ``make`` name; anything but make is no check of ours."""
    words = [line.removeprefix("sudo ").split() for line in commands]
    assert all(first == "make" for first, *_ in words), commands
    return {target for _, *targets in words for target in targets}


def test_the_workflow_runs_what_make_test_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    steps = {name: [step.get("run") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    test = called([line for line in steps["test"] if line])
    whole = re.search(r"^test: (.*)$", MAKEFILE, re.MULTILINE)
    assert whole is not None and set(whole[1].split()) <= test <= TARGETS
    assert called([line for line in steps["versions"] if line]) == {"test-versions"}
    assert called([line for line in steps["full"] if line]) == {"slurm-packages", "test-full"}
    actions = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)


def test_pre_commit_runs_the_linters_of_make() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert called([hook["entry"] for hook in repo["hooks"]]) == {"lint", "types", "imports"} <= TARGETS


def test_every_file_of_tests_has_a_name_of_its_own() -> None:
    """pytest collects no second one."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    assert {name for name, often in names.items() if often > 1} <= {"__init__.py", "conftest.py"}


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_seeds_in_a_row_run_every_slow_test_once(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sample.FULL_VARIABLE, raising=False)
    slow, drawn = list(range(19)), list[int]()
    for seed in range(5, 5 + n):
        monkeypatch.setenv(sample.SEED_VARIABLE, str(seed))
        drawn += sample.one_in(slow, n)
    assert sorted(drawn) == slow
    monkeypatch.setenv(sample.FULL_VARIABLE, "1")
    assert sample.one_in(slow, n) == slow
