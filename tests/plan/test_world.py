"""What the environment says of ranks, and how a batch is shared among them."""

from __future__ import annotations

import pytest

from sweepkit.cli.main import main
from sweepkit.config.schema import LauncherConfig
from sweepkit.errors import ConfigError
from sweepkit.plan import world

RANK_1_OF_2 = {
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RANK_1_OF_2.items():
        monkeypatch.setenv(name, value)


def test_a_rank_of_several_is_told_from_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.is_started() and world.is_follower()
    monkeypatch.setenv("RANK", "0")
    assert world.is_started() and not world.is_follower()
    monkeypatch.delenv("RANK")  # WORLD_SIZE alone is what some container images set
    assert not world.is_started() and not world.is_follower()


def test_as_many_ranks_train_a_run_as_were_started_and_no_others_may_be_asked_for() -> None:
    assert world.num_ranks(LauncherConfig()) == world.num_ranks(LauncherConfig(processes_per_run=2)) == 2
    with pytest.raises(ConfigError, match=r"processes_per_run is 4, but must be as many .*WORLD_SIZE=2"):
        world.num_ranks(LauncherConfig(processes_per_run=4))


@pytest.mark.parametrize(
    ("name", "value", "contract"),
    [
        ("WORLD_SIZE", "two", "at least 1"),
        ("WORLD_SIZE", "0", "at least 1"),
        ("WORLD_SIZE", "", "at least 1"),
        ("RANK", "first", "at least 0 and at most 1"),
        ("RANK", "2", "at least 0 and at most 1"),
        ("RANK", "-1", "at least 0 and at most 1"),
        ("LOCAL_RANK", "gpu1", "at least 0"),
        ("MASTER_PORT", "0", "at least 1 and at most 65535"),
    ],
)
def test_what_is_no_number_of_a_rank_is_one_line(
    name: str, value: str, contract: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} is {value!r}, but must be a whole number of {contract}; "):
        world.is_started()
    assert main(["train", "--cfg", "job"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
