"""What a cluster allows, and what it is told of a job: folders, time limits, arrays, names, environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import Commands

from sweepkit import fsio
from sweepkit.code import tree
from sweepkit.config import paths
from sweepkit.config.schema import SlurmConfig
from sweepkit.errors import ConfigError, SweepkitError
from sweepkit.launch.slurm import cluster, place, retries, snapshot


def test_a_folder_that_jobs_cannot_take_is_refused_and_others_are_not() -> None:
    for name in ("with space", "qu'ote", 'double"quote', "ünïcode", "a,b=c#d;e", "$HOME", "a*b"):
        place.check_folder(Path("/data") / name)
    for name in ("50%", "%j", "back\\slash", "co:lon", "new\nline"):
        with pytest.raises(ConfigError, match=r"SWEEPKIT_RESULTS_DIR .* choose another folder"):
            place.check_folder(Path("/data") / name)


def test_a_longer_time_than_the_partition_gives_is_refused(commands: Commands) -> None:
    said = (
        "PartitionName=main Default=YES MaxTime=UNLIMITED State=UP\n"
        "PartitionName=short Default=NO MaxTime=04:00:00 State=UP"
    )
    commands.answer("scontrol", f"printf '{said}\n'")
    cluster.max_time_min.cache_clear()
    assert place.check_time(SlurmConfig()) is None
    assert place.check_time(SlurmConfig(partition="short")) == 240
    assert place.check_time(SlurmConfig(partition="short", time_min=60)) == 60
    with pytest.raises(ConfigError, match="time_min is 300, but must be at most 240"):
        place.check_time(SlurmConfig(partition="short", time_min=300))
    cluster.max_time_min.cache_clear()


#: MaxWall of the job's QOS and of the partition's, flags of the job's, and the limit beside MaxTime=04:00:00.
WALLS = [
    ("", "", "", 240),
    ("02:00:00", "", "", 120),
    ("02:00:00", "01:00:00", "", 60),
    ("02:00:00", "01:00:00", "DenyOnLimit,OverPartQOS", 120),
    ("1-00:00:00", "", "", 240),
    ("1-00:00:00", "", "PartitionTimeLimit", 1440),
    ("", "00:30:00", "", 30),
    ("", "00:30:00", "OverPartQOS", 30),
]


@pytest.mark.parametrize("asked", [None, "mine"])
@pytest.mark.parametrize(("own", "of_partition", "flags", "longest_min"), WALLS)
def test_a_qos_has_its_say_on_the_longest_time(
    commands: Commands, own: str, of_partition: str, flags: str, longest_min: int, asked: str | None
) -> None:
    commands.answer("scontrol", "echo 'PartitionName=main Default=YES MaxTime=04:00:00 QoS=part State=UP'")
    rows = f"normal||\nmine|{own}|{flags}\npart|{of_partition}|OverPartQOS\nother|00:01:00|"
    default = "normal" if asked else "mine"
    commands.answer("sacctmgr", f"case $* in *assoc*) echo {default};; *) cat <<'END'\n{rows}\nEND\n;; esac")
    cluster.max_time_min.cache_clear()
    assert cluster.max_time_min(None, asked) == longest_min
    cluster.max_time_min.cache_clear()


@pytest.mark.parametrize("answer", ["exit 1", "echo", "echo nonsense", "printf 'a\\nb\\n'"])
def test_where_no_qos_is_told_the_partition_decides(
    commands: Commands, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "sleep", lambda seconds: None)
    commands.answer("scontrol", "echo 'PartitionName=main Default=YES MaxTime=04:00:00 State=UP'")
    commands.answer("sacctmgr", answer)
    cluster.max_time_min.cache_clear()
    assert cluster.max_time_min(None, None) == cluster.max_time_min("main", "mine") == 240
    cluster.max_time_min.cache_clear()


def test_jobs_of_other_sweeps_and_folders_have_other_names(tmp_path: Path) -> None:
    long = "learning_rates_of_matrices_and_embeddings_at_"
    titles = ["demo", "demo d2", "demo-d2", f"{long}d12", f"{long}d20"]
    folders = [tmp_path / "a", tmp_path / "b"]
    names = [place.job_name(title, folder) for title in titles for folder in folders]
    assert len(set(names)) == len(names)
    assert names == [place.job_name(title, folder) for title in titles for folder in folders]
    assert all(len(name) < 50 and name.startswith(("demo-", "learning_rates")) for name in names)


@pytest.mark.parametrize("in_a_job", [True, False])
def test_a_job_is_submitted_as_from_outside_of_any(monkeypatch: pytest.MonkeyPatch, in_a_job: bool) -> None:
    own = {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "lab", "SLURM_TIME_FORMAT": "standard"}
    told = {
        "SLURM_JOB_ID": "7",
        "SLURM_MEM_PER_CPU": "700",
        "SBATCH_CPU_BIND": "none",
        "SUBMITIT_EXECUTOR": "x",
    }
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))]:
        monkeypatch.delenv(name)
    for name, value in (own | told if in_a_job else own).items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with place._from_outside():
        seen = {name: os.environ[name] for name in own | told if name in os.environ}
    assert seen == ({name: own[name] for name in ("SLURM_CONF", "SBATCH_ACCOUNT")} if in_a_job else own)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("said", "size"), [("MaxArraySize            = 0", 1), ("MaxArraySize = 1001", 1001)]
)
def test_a_cluster_without_arrays_gets_jobs(commands: Commands, said: str, size: int) -> None:
    commands.answer("scontrol", f"echo '{said}'")
    commands.answer("sacctmgr", "")
    cluster.limits.cache_clear()
    assert cluster.limits().max_array_size == size
    cluster.limits.cache_clear()


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=8))
def test_a_snapshot_is_found_whatever_its_folder_is_called(name: str) -> None:
    folder = Path("/data") / name.replace("/", "_")
    lines = [*snapshot.shell_lines(folder), 'printf "%s\\n%s" "$PYTHONPATH" "$SWEEPKIT_CONF_DIR"']
    said = subprocess.check_output(["bash", "-c", "\n".join(lines)], env={"PYTHONPATH": "/x"}, text=True)
    assert said.split("\n") == [f"{folder}:/x", str(folder / "conf")]


def test_ranks_start_with_the_tree_that_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen tree takes the snapshot's place; one that reads text in another way has caches of its own."""
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "tree_0123456789abcdef"
    (folder / "conf").mkdir(parents=True)
    fsio.write_json(folder / tree.NOTE, {"python": None, "cache": "ab12"})
    names = ("PYTHONPATH", "SWEEPKIT_CONF_DIR", "SWEEPKIT_CACHE_DIR", "PYTHONSAFEPATH")
    lines = [*snapshot.tree_lines(folder), *(f'echo "${name}"' for name in names)]
    said = subprocess.check_output(["bash", "-c", "\n".join(lines)], env={}, text=True)
    cache = paths.cache_dir() / "code" / "ab12"
    assert said.splitlines() == [str(folder), str(folder / "conf"), str(cache), "1"]
    fsio.write_json(folder / tree.NOTE, {"python": "/own/bin/python"})
    with pytest.raises(SweepkitError, match="environment of its own"):
        snapshot.tree_lines(folder)
