"""Levels that are code on a real cluster: of this package and of a command, edited and stopped on the way."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from slurm_cluster import LAUNCHER, Cluster, User, fake_sbatch

from comment_patch import COMMENT_ALONE
from tiny_sweep import write_sweep

pytestmark = pytest.mark.slow

_COMMAND = """\
command: [sh, run.sh, "{run_dir}", "{seed}"]
metric: {name: loss, read: result.json}
resume: true
axes: {idea: {half: {code: half.patch}}}
seeds: [1, 2, 3, 4, 5]
decision: {direction: lower, min_effect: 0.1, alpha: 0.2, axes: {wall_clock: ignore}}
"""
_SCRIPT = """\
n=$(cat "$1/n" 2>/dev/null || echo 0); echo $n >> "$1/begun"
while [ $n -lt 10 ]; do n=$((n+1)); echo $n > "$1/part"; mv "$1/part" "$1/n"; sleep 0.1; done
echo "{\\"loss\\": 1.$2}" > "$1/result.json"
"""
_HALF = """\
--- a/run.sh
+++ b/run.sh
@@ -1,3 +1,3 @@
 n=$(cat "$1/n" 2>/dev/null || echo 0); echo $n >> "$1/begun"
 while [ $n -lt 10 ]; do n=$((n+1)); echo $n > "$1/part"; mv "$1/part" "$1/n"; sleep 0.1; done
-echo "{\\"loss\\": 1.$2}" > "$1/result.json"
+echo "{\\"loss\\": 0.$((9 - $2 % 2))}" > "$1/result.json"
"""


def test_code_levels_are_carried_out_by_tasks_and_survive_them(cluster: Cluster, user: User) -> None:
    (user.folder / "run.sh").write_text(_SCRIPT)
    (user.folder / "half.patch").write_text(_HALF)
    (user.folder / "words.patch").write_text(COMMENT_ALONE)
    axes = "{idea: {words: {code: words.patch}}}"
    write_sweep(user.folder, num_steps=5, seeds=1, axes=axes, reference="{}", ladder="none")
    (user.folder / "sweeps" / "script.yaml").write_text(_COMMAND)
    with cluster.held():
        user.sweepkit("promote", "script", *LAUNCHER, "launcher.slurm.runs_per_task=5")
        user.sweepkit("sweep", "small", *LAUNCHER, "launcher.slurm.runs_per_task=2")
    for name in ("run.sh", "half.patch", "words.patch"):
        (user.folder / name).write_text("exit 1\n")

    def steps() -> list[int]:
        return [int(path.read_text()) for path in user.results.glob("runs/c-*/output/n")]

    cluster.wait_for("a command to have begun", lambda: max(steps(), default=0) > 2)
    arrays = {item["name"].split("-")[0]: item["job_id"] for item in user.submissions() if item["tasks"]}
    cluster.run("scontrol", "requeue", f"{arrays['script']}_0")
    cluster.run("scancel", "-s", "KILL", f"{arrays['script']}_1.0", check=False)
    cluster.run("scontrol", "requeue", f"{arrays['small']}_0", check=False)
    cluster.wait_until_idle()
    user.sweepkit("promote", "script", *LAUNCHER)  # what was killed, and the decision
    cluster.wait_until_idle()

    begun = [path.read_text().split() for path in user.results.glob("runs/c-*/output/begun")]
    assert len(begun) == 10 and max(map(len, begun)) > 1 and all(first == "0" for first, *_ in begun)
    promotion = json.loads((user.results / "script" / "promotion.json").read_text())
    assert [final["outcome"] for final in promotion["finals"]] == ["adopted"]
    ours = {row["variant"]: row for row in user.table("small")}
    assert {row["state"] for row in ours.values()} == {"complete"} and len(ours) == 2
    assert ours["idea=words"]["val_bpb"] == ours["reference"]["val_bpb"]
    trees = {path.name for path in Path(user.results / ".code").iterdir()}
    assert sum(name.startswith("program_") for name in trees) == 2
    assert sum(name.startswith("tree_") for name in trees) == 2


def test_a_killed_promotion_of_our_own_code_goes_on_with_what_was_frozen(
    cluster: Cluster, user: User
) -> None:
    """The process that submits is killed, then a worker, and every patch is written over."""
    old = "     return F.relu(up_BTF).square()\n"
    change = COMMENT_ALONE.replace("-20,7 +20,8", "-20,7 +20,7")
    patches = {"words": COMMENT_ALONE}
    for name, new in (("worse", "return F.relu(up_BTF)"), ("broken", "raise ArithmeticError('broken')")):
        patches[name] = change.replace(f"+    # words alone\n{old}", f"-{old[1:]}+    {new}\n")
    for name, text in patches.items():
        (user.folder / f"{name}.patch").write_text(text)
    levels = ", ".join(f"{name}: {{code: {name}.patch}}" for name in patches)
    write_sweep(
        user.folder, num_steps=80, seeds=2, axes=f"{{idea: {{{levels}}}}}", reference="{}", ladder="none"
    )
    ask = ("promote", "small", *LAUNCHER, "launcher.slurm.runs_per_task=4")
    killing = fake_sbatch(user.folder, 'sbatch "$@" >/dev/null; kill -9 $PPID')
    with cluster.held():
        assert user.sweepkit(*ask, check=False, extra=killing).returncode == -signal.SIGKILL
        for name in patches:
            (user.folder / f"{name}.patch").write_text("edited\n")
        user.sweepkit(*ask)
    user.wait_for_step(20)
    for path in user.results.glob("runs/*/claim.json"):
        os.kill(json.loads(path.read_text())["process"]["pid"], signal.SIGKILL)
    cluster.wait_until_idle()
    user.sweepkit(*ask)  # what the killed ones had begun, and the decision
    cluster.wait_until_idle()

    ends = {(row["variant"], row["seed"]): row for row in user.table("small")}
    assert {row["failure_class"] for key, row in ends.items() if key[0] == "idea=broken"} == {"crash"}
    assert {row["state"] for key, row in ends.items() if key[0] != "idea=broken"} == {"complete"}
    for seed in (1, 2):
        reference, words_alone, worse = (
            ends[name, seed]["val_bpb"] for name in ("reference", "idea=words", "idea=worse")
        )
        assert words_alone == reference != worse
    assert max(user.attempts().values()) > 1 and len(ends) == 8
    promotion = json.loads((user.results / "small" / "promotion.json").read_text())
    outcomes = {final["variant"]: final["outcome"] for final in promotion["finals"]}
    assert promotion["finished"] and outcomes["idea=words"] == "rejected", "nothing differs"
    assert outcomes["idea=broken"] != "adopted"
