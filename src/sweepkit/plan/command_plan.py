"""CommandPlan: one run of any command, as it is claimed, launched, read and judged.

It answers as a RunSpec. Its identity is content: the command with its placeholders, the values of its
parameters, the digests of the program's files and of its inputs, and how its result is read. How much it
computes nobody knows before it has told, so its sizes are None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sweepkit.config.choices import Device
from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.schema import LauncherConfig
from sweepkit.plan.run_plan import RunPlan

#: ``metric.read`` of a result that is a JSON line on standard output.
STDOUT = "stdout"
#: In the place of a parameter: the program of a level.
CODE = "code"
Value = bool | int | float | str
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class MetricRead:
    """What a run is compared by, and where it says it."""

    name: str = fact(REQUIRED, "of the metric, its column", example="val_bpb")
    read: str | None = fact(
        None,
        "a JSON file in {run_dir}, or stdout: the last line there that is a JSON object with the key",
        example="result.json",
    )
    key: str | None = fact(
        None, "key of the number, inner ones behind dots; null: the metric's name", example="eval.loss"
    )
    regex: str | None = fact(
        None,
        "instead of read: a regular expression with one group, whose last match on stdout is the number",
        example="'val loss ([0-9.]+)'",
    )


@dataclass(frozen=True)
class Program:
    """What the runs of a sweep have in common: the command, and all files that decide a number.

    Attributes:
        command: words, with placeholders in braces: parameters, ``{seed}``, ``{run_dir}``, ``{run_id}``.
        folder: where it is started, absolute.
        code: digest of the program's files in that folder.
        inputs: path as written → digest of what is there.
        named: the same of files that the words of this run name.
        metric: how its result is read.
        resume: whether it goes on by itself from what it has left in its folder.
        of: what its code was frozen of (a git ref, a patch, a folder); empty: it is the reference's.
        path: folders in it that stand first on ``PYTHONPATH``.
        changed: of a level that is code, path → digest of what it changes beside the program's files, which
            the program may read unasked; None where that is nothing.
    """

    command: tuple[str, ...]
    folder: str
    code: str
    metric: MetricRead
    inputs: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    resume: bool = False
    of: str = ""
    path: tuple[str, ...] | None = fact(None, "folders in it that stand first on PYTHONPATH", is_sparse=True)
    changed: dict[str, str] | None = fact(None, "files that a level changes, by digest", is_sparse=True)


@dataclass(frozen=True, kw_only=True)
class CommandPlan:
    """A RunSpec with what it takes to start a command."""

    run_id: str  # d{depth}-{variant_id}-s{seed}, with c- for a command without a parameter of that name
    variant_id: str  # 12 hex digits of the SHA-256 of all that decides its result, the seed apart
    seed: int
    pair_key: str  # equal keys: runs of one seed, which means the same data order for all of them
    compile_key: str  # one for all runs of a program: a worker may take any of them
    params: dict[str, Value]
    program: Program
    launcher: LauncherConfig
    training_id: str = ""
    evaluation_key: str = ""
    depth: int | None = None  # the parameter of that name
    schema_version: int = SCHEMA_VERSION

    #: What no command has, or nobody knows before it has told (RunSpec).
    num_steps = total_tokens = total_flops = None
    estimated_peak_memory_gib = estimated_gpu_hours = config = tree = None

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters by name, and the code where it is a level's."""
        return dict(self.params) | ({CODE: self.program.of} if self.program.of else {})

    @property
    def device(self) -> Device:
        """Whatever is there."""
        return Device.auto

    @property
    def keep_checkpoints(self) -> bool:
        """What a command leaves is its own."""
        return True

    def evaluated_as(self, other: CommandPlan) -> CommandPlan:
        """This run: how its result is read is part of its name."""
        return self


Plan = RunPlan | CommandPlan


def own(plan: Plan) -> RunPlan:
    """A plan that is known to be of this package's trainer."""
    assert isinstance(plan, RunPlan)
    return plan
